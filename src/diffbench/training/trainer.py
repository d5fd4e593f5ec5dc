"""Training one paradigm with one seed: resumable, and the same for every paradigm.

Every row sees the same images in the same order with the same noise and the same uniform draws of time, because
those come from generators that know the seed and the step and not the paradigm.
"""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from diffbench import rng
from diffbench.config.models import Paradigm, Params, Training
from diffbench.data import splits, vocabulary
from diffbench.data.combinations import among
from diffbench.device import autocast
from diffbench.diffusion import model
from diffbench.diffusion.objective import Batch, objective
from diffbench.diffusion.times import training_times
from diffbench.errors import UserError
from diffbench.meters import synchronise
from diffbench.runtime import checkpoint
from diffbench.runtime.progress import Progress
from diffbench.training import ema
from diffbench.training.flat_parameters import flatten
from diffbench.training.recorded import Recorded
from diffbench.training.snapshots import images_at_snapshots

GRADIENTS_AGREE = 0.2  # in ``disagreement``; rounding to bf16 gives 0.04, unwritten parts gave 0.3 to 60,000
STATE = ("weights", "ema", "moments", "count", "losses", "snapshots")  # what a resume point holds


def image_order(count: int, steps: int, batch: int, seed: int) -> Tensor:
    """Indices of the training images of each step, (steps, batch): one shuffled epoch after another."""
    epochs = -(-steps * batch // count)
    order = [torch.randperm(count, generator=rng.generator(seed, "order", epoch)) for epoch in range(epochs)]
    return torch.cat(order)[: steps * batch].reshape(steps, batch)


def drop_words(prompt: Tensor, training: Training, generator: torch.Generator) -> Tensor:
    """Prompts (B, 3) with weight and slant each turned to "any", and whole prompts to null, at random."""
    words = torch.rand(len(prompt), 2, device=prompt.device, generator=generator) < training.word_drop
    whole = torch.rand(len(prompt), 1, device=prompt.device, generator=generator) < training.prompt_drop
    # Scalars, not a tensor of them: copying one to the device would make every step wait for the last.
    weight = torch.where(words[:, 0], vocabulary.ANY_WEIGHT, prompt[:, 1])
    slant = torch.where(words[:, 1], vocabulary.ANY_SLANT, prompt[:, 2])
    return torch.where(whole, vocabulary.NULL, torch.stack([prompt[:, 0], weight, slant], dim=1))


def spread_uniform(count: int, generator: torch.Generator) -> Tensor:
    """Draws u in [0, 1), (count,), one in each of ``count`` equal cells of a randomly shifted grid.

    Each is uniform, and together they cover the times evenly, so the loss of a step varies less
    (arXiv:2107.00630, appendix I.1).
    """
    shift = torch.rand(1, device=generator.device, generator=generator)
    return (shift + torch.arange(count, device=generator.device) / count) % 1


def first_failure(losses: Tensor) -> int | None:
    """The index of the first loss that is not finite, or None."""
    bad = (~torch.isfinite(losses)).nonzero()
    return int(bad[0]) if len(bad) else None


def disagreement(expected: list[Tensor], found: list[Tensor]) -> float:
    """The largest difference of a parameter's two gradients over their size; NaN where one is not finite.

    The size is at least that of a parameter with its share of the whole gradient: one that all but cancels out is
    rounding, which compiling moves.

    Args:
        expected, found: of every parameter, in its shape.
    """
    total = torch.stack([gradient.square().sum() for gradient in expected]).sum()
    count = sum(gradient.numel() for gradient in expected)
    ratios = [
        (other - own).norm() / (own.norm() + (total * own.numel() / count).sqrt())
        for own, other in zip(expected, found, strict=True)
    ]
    return float(torch.stack(ratios).max())


class Trainer:
    """The state of a training run: network, average, moments and losses, saved and restored as one.

    Raises:
        UserError: params ask for a compiled network and its gradients are wrong; see ``compile``.
    """

    def __init__(self, params: Params, paradigm: Paradigm, seed: int, device: torch.device, dataset: splits.Dataset):
        self.params, self.paradigm, self.seed, self.device = params, paradigm, seed, device
        training = params.training
        with torch.random.fork_rng(devices=[]):  # the only use of the global state: torch's own initialisers
            torch.manual_seed(rng.seed_of(seed, "weights"))
            self.denoiser = model.build(paradigm, dataset.side)
        model.on_device(self.denoiser, device)
        self.objective = objective(paradigm.target)
        self.weights = flatten(self.denoiser.net)  # (P,)
        self.ema = self.weights.detach().clone()  # (P,)
        # AdamW's state, for torch's functional form: the optimiser class imports the compiler, 1.6 s of every job.
        self.moments = torch.zeros(2, len(self.weights), device=device)  # of the gradient and of its square, (2, P)
        self.count = torch.zeros((), device=device)
        self.steps = math.ceil(training.images / training.batch_size)
        self.done, self.seconds = 0, 0.0
        seen = images_at_snapshots(training)[:-1]
        self.marks = [images // training.batch_size for images in seen]  # steps of the snapshots
        self.snapshots = self.ema.new_zeros(len(self.marks), len(self.ema))  # (marks, P)
        self.losses = torch.zeros(self.steps, device=device)
        kept = ~among(dataset.train.prompts, dataset.withheld)
        self.images = splits.to_float(dataset.train.images[kept], device)  # (N, 1, H, W), resident
        self.prompts = torch.from_numpy(dataset.train.prompts[kept]).to(device)  # (N, 3)
        self.order = image_order(len(self.images), self.steps, training.batch_size, seed).to(device)
        self.generator = torch.Generator(device)
        if params.compute.compile:
            self.compile()
        self.learn: Callable[..., Tensor] = self.update
        if device.type == "cuda" and params.compute.graphs:
            self.learn = Recorded(self.update, self.draw(0), [self.weights, self.ema, self.moments, self.count])

    def compile(self) -> None:
        """Compile the network, and refuse to go on if its gradients are others than before.

        torch 2.10 to 2.13 leave parts of some gradients unwritten on CUDA (pytorch issue 193061). ``device.prepare``
        switches off what does it; all that showed it was a loss that did not fall.

        Raises:
            UserError: they are.
        """
        plain = self.gradients()
        model.fuse(self.denoiser, self.params.compute)
        error = disagreement(plain, self.gradients())
        if not error < GRADIENTS_AGREE:
            raise UserError(
                f"compute.compile: true, but torch {torch.__version__} compiles {self.paradigm.network} to wrong "
                f"gradients, off by {error:.2g} of their size; set it to false"
            )

    def gradients(self) -> list[Tensor]:
        """The gradient of every parameter, in its shape, on the first batch near the weights of now; nothing changes.

        Not at them: gates and heads start at zero, and hide all gradients but their own.
        """
        before = self.weights.detach().clone()
        noise = torch.randn(before.shape, generator=rng.generator("gradients"))
        batch = self.draw(0)
        with torch.no_grad():
            self.weights.add_(noise.to(self.device), alpha=0.02)
        with autocast(self.device, self.params.compute.precision):
            self.objective.weigh(self.objective.loss(self.denoiser, batch)).mean().backward()
        found = [parameter.grad.clone() for parameter in self.denoiser.net.parameters()]
        with torch.no_grad():
            self.weights.copy_(before)
        self.weights.grad.zero_()
        return found

    def step(self) -> None:
        """One update of the network and of its average."""
        training, n = self.params.training, self.done
        lr = self.paradigm.lr * min(1.0, (n + 1) / max(training.warmup, 1))
        self.losses[n] = self.learn(self.draw(n), lr, 1 - ema.decay(n + 1, training.ema))
        self.done = n + 1
        for row, mark in enumerate(self.marks):
            if mark == self.done:
                self.snapshots[row].copy_(self.ema)

    def times(self, u: Tensor) -> Tensor:
        """Training times of uniform draws, (B,) to (B,)."""
        return training_times(self.paradigm.times, u, self.denoiser.path)

    def draw(self, n: int) -> Batch:
        """What the objective sees in step n; what only some objectives draw comes last and moves no other draw."""
        training, count = self.params.training, self.params.training.batch_size
        steps = [max(n - back, 0) for back in reversed(range(self.objective.batches))]
        index = torch.cat([self.order[step] for step in steps])  # (batches * B,)
        x0 = self.images[index]
        self.generator.manual_seed(rng.seed_of(self.seed, "train", n))
        eps = torch.randn(count, *x0.shape[1:], device=self.device, generator=self.generator)
        u = spread_uniform(count, self.generator)  # (B,)
        t = self.times(u)
        prompt = drop_words(self.prompts[index], training, self.generator) if self.paradigm.conditional else None
        other = self.objective.draw(t, self.times, self.generator) if self.objective.draw else None
        return Batch(x0, eps, t, prompt, other)

    def update(self, batch: Batch, lr: float | Tensor, share: float | Tensor) -> Tensor:
        """Learn from one batch and return its loss, ().

        Args:
            lr: learning rate.
            share: of the new weights in their average.
        """
        with autocast(self.device, self.params.compute.precision):
            loss = self.objective.loss(self.denoiser, batch)  # (B,)
            self.objective.weigh(loss).mean().backward()
        torch.nn.utils.clip_grad_norm_(self.weights, self.params.training.grad_clip)
        self.optimise(lr)
        self.weights.grad.zero_()
        ema.update(self.ema, self.weights.detach(), share)
        return loss.detach().mean()

    @torch.no_grad()
    def optimise(self, lr: float | Tensor) -> None:
        """One step of AdamW (arXiv:1711.05101) on all weights, in torch's fused kernel."""
        training = self.params.training
        adamw(
            [self.weights], [self.weights.grad], [self.moments[0]], [self.moments[1]], [], [self.count], fused=True,
            amsgrad=False, beta1=0.9, beta2=training.beta2, lr=lr, weight_decay=training.weight_decay, eps=1e-8,
            maximize=False,
        )  # fmt: skip

    def save(self, path: Path, key: str) -> None:
        """Write a resume point."""
        checkpoint.save(
            path,
            {name: getattr(self, name) for name in STATE},
            {"key": key, "done": self.done, "seconds": self.seconds},
        )

    def restore(self, path: Path, key: str) -> bool:
        """Take up a resume point if there is a whole one of this very training; say so if there is not."""
        if not path.exists():
            return False
        try:
            tensors, header = checkpoint.load(path)
            if header["key"] != key:
                raise UserError(f"{path}: of other params, code or data")
            with torch.no_grad():
                for name in STATE:
                    getattr(self, name).copy_(tensors[name])
            self.done, self.seconds = header["done"], header["seconds"]
        except (UserError, KeyError, RuntimeError) as error:
            reason = error if isinstance(error, UserError) else f"{path}: does not fit this training"
            print(f"{reason}; training starts again")
            path.unlink()
            return False
        return True


def advance(
    trainer: Trainer,
    label: str,
    save: Callable[[], Any] = lambda: None,
    watch: Callable[[Trainer], Any] | None = None,
) -> int | None:
    """Train to the end of the budget; the step at which a loss stopped being finite, or None.

    Args:
        label: names the training in its progress lines.
        save: called every ``checkpoint_seconds``.
        watch: called after every step.
    """
    progress = Progress(label, trainer.steps, "steps", done=trainer.done)
    failed, before, saved = first_failure(trainer.losses[: trainer.done]), trainer.seconds, time.monotonic()
    started = saved
    checked = trainer.done
    while trainer.done < trainer.steps and failed is None:
        trainer.step()
        if watch:
            watch(trainer)
        if trainer.done % 50 and trainer.done < trainer.steps:
            continue  # reading a loss waits for the device, so it is done rarely
        recent = trainer.losses[checked : trainer.done].cpu()
        failure = first_failure(recent)
        failed = None if failure is None else checked + failure
        checked = trainer.done
        progress.update(trainer.done, f"loss {float(recent.mean()):.4f}")
        trainer.seconds = before + time.monotonic() - started
        if time.monotonic() - saved >= trainer.params.training.checkpoint_seconds and failed is None:
            save()
            saved = time.monotonic()
    synchronise(trainer.device)
    trainer.seconds = before + time.monotonic() - started
    return failed
