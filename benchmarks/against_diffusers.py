"""Training step and sampling against diffusers, at matched parameters, shapes and precision.

    python benchmarks/against_diffusers.py

Ours is the code of the train and sample stages. Theirs is what diffusers' own training examples and pipelines do:

- networks: UNet2DConditionModel, DiTTransformer2DModel, SD3Transformer2DModel, as deep as ours, with their default
  activation, and of the width that brings their parameters nearest to ours (within 10%, or the comparison stops);
- prompts: the U-Net and the SD3 transformer get ours through our own embedding, which counts among their parameters;
  the DiT gets the digit as its class;
- training: the scheduler's add_noise, mean squared error, clip_grad_norm_, torch.optim.AdamW as it comes, EMAModel.
  The images lie on the device already, so neither side waits for a data loader;
- sampling: the scheduler's step in a loop, both halves of guidance in one batch, trailing steps, the same number of
  images and steps. DDIM clips x0 on both sides, Euler on ours only.

Both sides run in the same precision under autocast, on the same threads, in the same process, in turns.
"""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from itertools import product

import torch
from common import Ratio, alternate, arguments, circumstances, dataset, measured, setting, show, write
from torch import Tensor, nn

from diffbench.config.models import Params
from diffbench.data import vocabulary
from diffbench.data.sources import image_side
from diffbench.design import Cell
from diffbench.device import autocast
from diffbench.diffusion import generate, model
from diffbench.diffusion.networks.layers import PromptEmbedding
from diffbench.training.trainer import Trainer

TARGET = {"cpu": 1.0, "cuda": 2.0}
ROWS = {"unet": "sd1", "dit": "dit", "mmdit": "sd3"}  # the row of the presets that shows each network
SCALE = 2.0  # guidance


def unets(params: Params, size: dict) -> Iterator[tuple[nn.Module, int]]:
    """U-Nets in the proportions of ours, of rising width, and the width of their prompt tokens.

    Where ours takes patches as channels of smaller images, so does theirs.
    """
    from diffusers import UNet2DConditionModel

    patch = size.get("patch", 1)
    levels, attention, heads = len(size["channels"]), size["attention"], size["heads"]
    step = 4 * heads if heads % 2 else 2 * heads  # of channels: heads and four groups divide them
    step = step if step % 4 == 0 else 2 * step
    seen = set()
    for share, more in product(range(20, 161, 2), (0, step)):
        *upper, last = (max(step, round(share / 100 * width / step) * step) for width in size["channels"])
        channels = (*upper, last + more)
        if channels in seen:
            continue
        seen.add(channels)
        attends = [level >= levels - attention for level in range(levels)]
        yield (
            UNet2DConditionModel(
                sample_size=image_side(params) // patch,
                in_channels=patch**2,
                out_channels=patch**2,
                block_out_channels=channels,
                layers_per_block=size["blocks"],
                down_block_types=tuple("CrossAttnDownBlock2D" if on else "DownBlock2D" for on in attends),
                up_block_types=tuple("CrossAttnUpBlock2D" if on else "UpBlock2D" for on in reversed(attends)),
                cross_attention_dim=size["context"],
                attention_head_dim=heads,  # which diffusers reads as the number of heads
                norm_num_groups=4,
            ),
            size["context"],
        )


def dits(params: Params, size: dict) -> Iterator[tuple[nn.Module, int]]:
    """DiTs as deep as ours, of rising width."""
    from diffusers import DiTTransformer2DModel

    for each in range(4, size["width"] // size["heads"] + 1):
        if each * size["heads"] % 4:  # as their positions in two dimensions need
            continue
        yield (
            DiTTransformer2DModel(
                num_attention_heads=size["heads"],
                attention_head_dim=each,
                in_channels=1,
                out_channels=1,
                num_layers=size["depth"],
                sample_size=image_side(params),
                patch_size=size["patch"],
                num_embeds_ada_norm=10,
            ),
            0,
        )


def mmdits(params: Params, size: dict) -> Iterator[tuple[nn.Module, int]]:
    """SD3 transformers as deep as ours, of rising width, and the width of their prompt tokens."""
    from diffusers import SD3Transformer2DModel

    for each in range(4, size["width"] // size["heads"] + 9, 2):
        width = each * size["heads"]
        yield (
            SD3Transformer2DModel(
                sample_size=image_side(params),
                patch_size=size["patch"],
                in_channels=1,
                out_channels=1,
                num_layers=size["depth"],
                attention_head_dim=each,
                num_attention_heads=size["heads"],
                joint_attention_dim=width,
                caption_projection_dim=width,
                pooled_projection_dim=width,
                pos_embed_max_size=image_side(params) // size["patch"],
            ),
            width,
        )


BUILDERS = {"unet": unets, "dit": dits, "mmdit": mmdits}


class Theirs(nn.Module):
    """A diffusers network called as ours is, with its scheduler.

    Args:
        network: unet, dit or mmdit.
        params, size: of the preset and of our network.
        count: parameters to match.

    Raises:
        ValueError: no width comes within 10%.
    """

    def __init__(self, network: str, params: Params, size: dict, count: int):
        super().__init__()
        from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler

        best = None
        for net, width in BUILDERS[network](params, size):
            words = PromptEmbedding(width) if width else None
            parameters = sum(p.numel() for part in (net, words) if part is not None for p in part.parameters())
            if best is None or abs(parameters - count) < abs(best[2] - count):
                best = net, words, parameters
        self.net, self.words, self.parameter_count = best
        if not 0.9 <= self.parameter_count / count <= 1.1:
            raise ValueError(f"{network}: {self.parameter_count} of their parameters against {count} of ours")
        self.network, self.patch = network, size.get("patch", 1)
        if network == "mmdit":
            self.scheduler = FlowMatchEulerDiscreteScheduler()
        else:
            schedule = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
            own = schedule if network == "unet" else {}
            self.scheduler = DDIMScheduler(timestep_spacing="trailing", clip_sample=True, **own)

    def forward(self, x: Tensor, t: Tensor, prompt: Tensor) -> Tensor:
        """Noisy images (B, 1, H, W), their times (B,) and our prompts (B, 3) to (B, 1, H, W)."""
        if self.network == "dit":
            labels = torch.where(prompt[:, 0] == vocabulary.NULL, 10, prompt[:, 0])
            return self.net(x, timestep=t, class_labels=labels, return_dict=False)[0]
        words = self.words(prompt)
        if self.network == "unet":
            x = nn.functional.pixel_unshuffle(x, self.patch)  # (B, patch^2, H / patch, W / patch)
            x = self.net(x, t, encoder_hidden_states=words, return_dict=False)[0]
            return nn.functional.pixel_shuffle(x, self.patch)
        pooled = words.mean(dim=1)
        return self.net(x, encoder_hidden_states=words, pooled_projections=pooled, timestep=t, return_dict=False)[0]


def training(theirs: Theirs, trainer: Trainer, where: torch.device) -> Callable[[], None]:
    """One step of diffusers' training examples, on the images and prompts of ``trainer``."""
    from diffusers.training_utils import EMAModel

    params, settings = trainer.params, trainer.params.training
    optimiser = torch.optim.AdamW(
        theirs.parameters(), lr=1e-4, betas=(0.9, settings.beta2), weight_decay=settings.weight_decay
    )
    average = EMAModel(theirs.parameters(), decay=settings.ema)
    average.to(where)
    flow, levels, turn = theirs.network == "mmdit", theirs.scheduler.config.num_train_timesteps, 0

    def step() -> None:
        nonlocal turn
        index = trainer.order[turn % len(trainer.order)]
        turn += 1
        x0, prompt = trainer.images[index], trainer.prompts[index]
        noise = torch.randn_like(x0)
        whole = torch.rand(len(x0), 1, device=where) < settings.prompt_drop
        prompt = torch.where(whole, vocabulary.NULL, prompt)
        if flow:
            share = torch.randn(len(x0), device=where).sigmoid()
            t, sigma = levels * share, share[:, None, None, None]
            noisy, wanted = (1 - sigma) * x0 + sigma * noise, noise - x0
        else:
            t = torch.randint(0, levels, (len(x0),), device=where)
            noisy, wanted = theirs.scheduler.add_noise(x0, noise, t), noise
        with autocast(where, params.compute.precision):
            found = theirs(noisy, t, prompt)
        nn.functional.mse_loss(found.float(), wanted).backward()
        nn.utils.clip_grad_norm_(theirs.parameters(), settings.grad_clip)
        optimiser.step()
        optimiser.zero_grad()
        average.step(theirs.parameters())

    return step


def sampling(
    theirs: Theirs, prompt: Tensor, start: Tensor, steps: int, params: Params, where: torch.device
) -> Callable[[], Tensor]:
    """A guided pipeline's loop, from noise (B, 1, H, W)."""
    null = torch.full_like(prompt, vocabulary.NULL)
    both = torch.cat([null, prompt])

    def draw() -> Tensor:
        theirs.scheduler.set_timesteps(steps, device=where)
        x = start
        with torch.inference_mode(), autocast(where, params.compute.precision):
            for t in theirs.scheduler.timesteps:
                uncond, cond = theirs(torch.cat([x, x]), t.expand(2 * len(x)), both).float().chunk(2)
                x = theirs.scheduler.step(uncond + SCALE * (cond - uncond), t, x, return_dict=False)[0]
        return x

    return draw


def compare(network: str, params: Params, where: torch.device, rounds: int) -> list[Ratio]:
    """The ratios of one network: training, then sampling."""
    row = params.paradigms[ROWS[network]]
    names = [f"{network}: training step", f"{network}: sampling"]
    target = TARGET[where.type]
    if importlib.util.find_spec("diffusers") is None:
        return [Ratio(name, target, skipped="diffusers is not installed") for name in names]
    data = dataset(params)
    trainer = Trainer(params, row, 0, where, data)
    count = model.parameters(trainer.denoiser)
    theirs = Theirs(network, params, row.size | ({} if network == "unet" else {"patch": row.size["patch"]}), count)
    theirs.to(where).train()
    note = f"{theirs.parameter_count / count:.2f} of our parameters"
    pairs = alternate(trainer.step, training(theirs, trainer, where), rounds, where, warm_up=5)
    ratios = [measured(names[0], target, pairs, note)]

    denoiser = model.on_device(model.build(row, image_side(params)), where)
    denoiser.eval().requires_grad_(False)
    model.fuse(denoiser, params.compute)
    theirs.eval().requires_grad_(False)
    images, steps = min(params.sampling.images, params.sampling.batch_size), params.sampling.guidance.sweep_steps
    prompt = trainer.prompts[torch.arange(images) % len(trainer.prompts)]
    cell = Cell(sampler=row.samplers[0], steps=steps, guidance=SCALE)
    start = generate.starts(images, image_side(params), 0, "scored", where)

    def ours() -> None:
        with torch.no_grad(), autocast(where, params.compute.precision):  # as the sample stage
            generate.draw(denoiser, cell, prompt, start, 0, 0, "scored", clip=params.sampling.clip)

    pairs = alternate(
        ours, sampling(theirs, prompt, start, steps, params, where), max(3, rounds // 3), where, warm_up=1
    )
    return [*ratios, measured(names[1], target, pairs, f"{images} images, {steps} steps at guidance {SCALE:g}")]


def run(params: Params, where: torch.device, rounds: int) -> list[Ratio]:
    """The ratios of all networks."""
    return [ratio for network in ROWS for ratio in compare(network, params, where, rounds)]


def main(argv: list[str] | None = None) -> int:
    """Print the table; the exit code is 1 where a target is missed."""
    options = arguments(__doc__, argv)
    params, where = setting(options.preset)
    facts, ratios = circumstances(params, where), run(params, where, options.rounds)
    show(facts, ratios)
    write(options.json, facts, ratios)
    return int(not all(ratio.holds for ratio in ratios))


if __name__ == "__main__":
    sys.exit(main())
