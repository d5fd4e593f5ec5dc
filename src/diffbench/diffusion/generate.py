"""Images of a cell from a trained denoiser."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from diffbench import rng
from diffbench.config.models import Params
from diffbench.data import vocabulary
from diffbench.design import Cell
from diffbench.device import autocast
from diffbench.diffusion.denoiser import Denoiser, Rescaled
from diffbench.diffusion.guidance import Guided
from diffbench.diffusion.paths import PATHS
from diffbench.diffusion.samplers import SAMPLERS
from diffbench.diffusion.times import sampling_times


def starts(count: int, side: int, seed: int, purpose: str, device: torch.device) -> Tensor:
    """The noise from which images 0 to ``count`` of every cell start, (count, 1, side, side).

    Drawn on the CPU, so that it is the same on every device.
    """
    return rng.image_noise(0, count, (1, side, side), seed, purpose, "start").to(device)


def draw(
    denoiser: Denoiser,
    cell: Cell,
    prompt: Tensor | None,
    x: Tensor,
    first: int,
    seed: int,
    purpose: str,
    *,
    clip: bool,
    negative: Denoiser | None = None,
) -> tuple[Tensor, int]:
    """The images of a cell that start from ``x``, (B, 1, H, W) in float, and the evaluations of each.

    Args:
        prompt: prompts (B, 3), or None for an unconditional network.
        x: starting noise, (B, 1, H, W).
        first: the number of the first of them. It decides a stochastic sampler's own noise, which is drawn on the
            device, because there may be 1,000 draws of it.
        negative: the network to steer away from, if not that without a prompt.
    """

    def noise(step: int) -> Tensor:
        return rng.image_noise(first, first + len(x), x.shape[1:], seed, purpose, "step", step, device=x.device)

    def seen_on(network: Denoiser) -> Denoiser | Rescaled:
        return network if cell.path is None else Rescaled(network, PATHS[cell.path]())

    null = torch.full((vocabulary.LENGTH,), vocabulary.NULL, device=x.device)
    seen, worse = seen_on(denoiser), None if negative is None else seen_on(negative)
    guided = Guided(
        seen, prompt, null, cell.guidance, clip=clip, interval=cell.interval, share=cell.rescale, negative=worse
    )
    ts = sampling_times(cell.spacing, cell.steps, seen.path)
    return SAMPLERS[cell.sampler](guided, seen.path, x, ts, noise, **cell.options), guided.nfe


def quantise(x: Tensor, levels: int) -> np.ndarray:
    """Images (N, 1, H, W) in [-1, 1] to uint8 (N, H, W) on the data's own grey levels.

    Samples get the levels real images have, or a metric could tell the two apart by them.
    """
    level = ((x[:, 0].clamp(-1, 1) + 1) / 2 * (levels - 1)).round()
    return (level * (255 / (levels - 1))).round().to(torch.uint8).cpu().numpy()


def generate(
    denoiser: Denoiser,
    cell: Cell,
    prompt: np.ndarray | None,
    start: Tensor,
    levels: int,
    params: Params,
    seed: int,
    purpose: str,
    advance: Callable[[int], None] = lambda count: None,
    negative: Denoiser | None = None,
) -> tuple[np.ndarray, int, bool]:
    """Images of a cell as uint8 (N, H, W), the evaluations of each, and whether all were finite.

    Args:
        prompt: prompts (N, 3), or None for an unconditional network.
        levels: grey levels of the data.
        start: ``starts`` of the same seed and purpose, (N, 1, H, W), on the denoiser's device.
        advance: called after each batch with its number of images.
        negative: the network to steer away from, if not that without a prompt.
    """
    wanted = None if prompt is None else torch.from_numpy(prompt[: len(start)]).to(start.device)
    images, nfe, finite, first = [], 0, True, 0
    for noise in start.split(params.sampling.batch_size):
        asked = None if wanted is None else wanted[first : first + len(noise)]
        # Not inference_mode: a compiled network is compiled again for tensors from inside it, from the second step on.
        with torch.no_grad(), autocast(start.device, cell.precision or params.compute.precision):
            x, nfe = draw(
                denoiser, cell, asked, noise, first, seed, purpose, clip=params.sampling.clip, negative=negative
            )
        finite &= bool(torch.isfinite(x).all())
        images.append(quantise(torch.nan_to_num(x), levels))
        first += len(noise)
        advance(len(noise))
    return np.concatenate(images), nfe, finite
