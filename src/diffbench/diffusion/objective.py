"""Training objectives, on explicit draws.

An objective is a loss for each image of a batch, and says what it draws besides images, noise, times and prompts. What
the loss is on names it: a target of ``targets.TARGETS``, or a key of OBJECTIVES.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from diffbench.diffusion import drift, mean_flow
from diffbench.diffusion.denoiser import Denoiser
from diffbench.diffusion.paths import Path
from diffbench.diffusion.targets import CLIP, TARGETS, column, determinant, target, target_and_loss


class Batch(NamedTuple):
    """What a loss sees. ``x0`` and ``prompt`` may hold more images than are trained on, the latter last."""

    x0: Tensor  # (N, C, H, W), N a multiple of B
    eps: Tensor  # (B, C, H, W)
    t: Tensor  # (B,)
    prompt: Tensor | None  # (N, 3)
    other: Tensor | None = None  # what the objective draws for itself, (B,)


Times = Callable[[Tensor], Tensor]  # from uniform draws (B,) to a row's training times (B,)


class Objective(NamedTuple):
    """A loss, and what it needs.

    Attributes:
        loss: from a denoiser and a batch to the loss of each image, (B,).
        weigh: what of it is learned from, (B,); the loss itself unless it says otherwise.
        draw: from times (B,), the row's rule for times and a generator to ``Batch.other``; None where nothing is drawn.
        batches: how many of the last batches of images the loss sees in a step.
    """

    loss: Callable[[Denoiser, Batch], Tensor]
    weigh: Callable[[Tensor], Tensor] = lambda loss: loss
    draw: Callable[[Tensor, Times, torch.Generator], Tensor] | None = None
    batches: int = 1


def noisy(path: Path, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
    """``x_t = alpha x0 + sigma eps``, shaped like x0."""
    return column(path.alpha(t), x0) * x0 + column(path.sigma(t), x0) * eps


def weight(given: str, on: str, path: Path, t: Tensor) -> Tensor:
    """What turns a squared error of what the network gives into one of what the loss is on, shape of ``t``.

    Both explain one x_t, so an error of x0 makes one of eps, ``alpha dx0 + sigma deps = 0``, and any target's error is
    ``-dx0 / sigma`` times its determinant: the weight is the squared ratio of two determinants. On the linear path x0
    with the loss on velocity has ``1 / t^2`` (arXiv:2511.13720, table 1 and eq. 6), whose denominator is clipped.
    """
    return (determinant(on, path, t) / determinant(given, path, t).abs().clamp(min=CLIP)).square()


def regression(on: str, denoiser: Denoiser, batch: Batch) -> Tensor:
    """Mean squared error for each image, (B,), of a target in which the network's output is rewritten.

    Unweighted where the loss is on what the network gives (arXiv:2006.11239, eq. 14).

    Args:
        on: a key of TARGETS.
    """
    path, (x0, eps, t, prompt, _) = denoiser.path, batch
    x_t = noisy(path, x0, eps, t)
    wanted = target(denoiser.target, path, x0, eps, t)
    error = (denoiser.output(x_t, t, prompt) - wanted).square().mean(dim=(1, 2, 3))
    return error if on == denoiser.target else weight(denoiser.target, on, path, t) * error


def second_time(t: Tensor, times: Times, generator: torch.Generator) -> Tensor:
    """The other end of each interval, (B,): t itself for half of them, else drawn as t is (arXiv:2512.02012)."""
    u = torch.rand(len(t), device=t.device, generator=generator)
    return torch.where(u < 0.5, t, times((2 * u - 1).clamp(min=0)).to(t.dtype))


def improved_mean_flow(denoiser: Denoiser, batch: Batch) -> Tensor:
    """The loss of velocity through the mean velocity, (B,): ``|V - (eps - x0)|^2`` (arXiv:2512.02012, eq. 13).

    The paper's network also takes a guidance scale and has a second head for v; this one has neither.
    """
    path, (x0, eps, one, prompt, other) = denoiser.path, batch
    if other is None:
        raise ValueError("the loss mean-flow is of intervals: it needs a second time")
    t, r = torch.maximum(one, other), torch.minimum(one, other)
    x_t = noisy(path, x0, eps, t)

    def u(z: Tensor, end: Tensor, time: Tensor) -> Tensor:
        # forward, because a compiled network has no forward derivative
        return denoiser.net.forward(z, denoiser.told(time, z), prompt, denoiser.told(end, z))

    derivative = mean_flow.total_derivative(u, x_t, r, t)
    found = mean_flow.compound(denoiser.output(x_t, t, prompt, r), derivative, r, t)
    return (found - target("velocity", path, x0, eps, t)).square().sum(dim=(1, 2, 3))


def drifting(denoiser: Denoiser, batch: Batch) -> Tensor:
    """How far generated images are from where they drift, (B,): ``|x - sg[x + V]|^2`` (arXiv:2602.04770, eq. 6).

    The data are all images of the batch; the images made from its noise have the last of the prompts.
    """
    x0, eps, t, prompt, _ = batch
    own = None if prompt is None else prompt[-len(eps) :]
    samples = denoiser.read(denoiser.output(eps, t, own), eps, t).x0.flatten(1).float()  # (B, D)
    with torch.no_grad(), torch.autocast(samples.device.type, enabled=False):
        unit, goal = drift.drifted(samples, x0.flatten(1), own, prompt)
    return (samples / unit - goal).square().mean(dim=1)


OBJECTIVES: dict[str, Objective] = {
    **{on: Objective(partial(regression, on)) for on in TARGETS},
    "mean-flow": Objective(improved_mean_flow, weigh=mean_flow.evened, draw=second_time),
    # Hundreds of real images: tens of each digit, as the paper has of each class. The samples are those of one batch,
    # fewer of each digit than the paper's.
    "drift": Objective(drifting, batches=16),
}


def objective(name: str) -> Objective:
    """The objective of a row's target, as params write it."""
    return OBJECTIVES[target_and_loss(name)[1]]
