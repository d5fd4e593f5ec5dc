"""What a network predicts, and how x0 and eps are recovered from it.

Every target is a row (a, b) with ``target = a x0 + b eps``. Beside ``x_t = alpha x0 + sigma eps`` it makes one
2 x 2 system, so a new target is one line here and needs no converter of its own.

What a network gives and what its loss is on are two choices. A row names the second after an @, as in ``x0@velocity``.
Such a row is read as JiT reads its networks: what is divided by is at least CLIP, in the loss and in sampling.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from diffbench.diffusion.paths import SIGMA_DATA, DifferentiablePath, Path

CLIP = 0.05  # arXiv:2511.13720, section 4


class Prediction(NamedTuple):
    """A denoiser's estimate of the data and of the noise, both shaped like x_t."""

    x0: Tensor
    eps: Tensor


def _x0(path: Path, t: Tensor) -> tuple[Tensor, Tensor]:
    return torch.ones_like(t), torch.zeros_like(t)


def _eps(path: Path, t: Tensor) -> tuple[Tensor, Tensor]:
    return torch.zeros_like(t), torch.ones_like(t)


def _v(path: Path, t: Tensor) -> tuple[Tensor, Tensor]:
    return -path.sigma(t), path.alpha(t)


def _velocity(path: Path, t: Tensor) -> tuple[Tensor, Tensor]:
    if not isinstance(path, DifferentiablePath):
        raise TypeError(f"{type(path).__name__} has no derivatives, so no velocity")
    return path.d_alpha(t), path.d_sigma(t)


def _edm(path: Path, t: Tensor) -> tuple[Tensor, Tensor]:
    """What EDM's network F is trained to give, ``(x0 - c_skip x) / c_out`` of ``x = x0 + s eps`` (table 1).

    With ``s = sigma / alpha`` the noise level of any path, ``c_skip = d^2 / (s^2 + d^2)`` and
    ``c_out = s d / sqrt(s^2 + d^2)``, d being SIGMA_DATA. Multiplied out, so that alpha = 0 is no exception.
    """
    alpha, sigma = path.alpha(t), path.sigma(t)
    norm = (sigma**2 + (SIGMA_DATA * alpha) ** 2).sqrt()
    return sigma / (SIGMA_DATA * norm), -SIGMA_DATA * alpha / norm


TARGETS: dict[str, Callable[[Path, Tensor], tuple[Tensor, Tensor]]] = {
    "x0": _x0,
    "eps": _eps,  # arXiv:2006.11239, eq. 14
    "v": _v,  # alpha eps - sigma x0, arXiv:2202.00512, appendix D
    "velocity": _velocity,  # alpha' x0 + sigma' eps; eps - x0 on the linear path, arXiv:2403.03206, eq. 13
    "edm": _edm,  # arXiv:2206.00364, eq. 8
}


def target_and_loss(name: str) -> tuple[str, str]:
    """What a row's network gives, and what its loss is on: the same unless an @ says so."""
    given, _, on = name.partition("@")
    return given, on or given


def column(t: Tensor, x: Tensor) -> Tensor:
    """View times (B,) or () so that they broadcast over images (B, C, H, W)."""
    return t.reshape(t.shape + (1,) * (x.dim() - t.dim())) if t.dim() else t


def target(kind: str, path: Path, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
    """The regression target ``a(t) x0 + b(t) eps``, shaped like x0."""
    a, b = (column(c, x0) for c in TARGETS[kind](path, t))
    return a * x0 + b * eps


def determinant(kind: str, path: Path, t: Tensor) -> Tensor:
    """``alpha b - sigma a`` of a target's 2 x 2 system, shape of ``t``.

    It is what one divides by to get x0 and eps out of the target: for x0 sigma (but for the sign), for eps alpha, and
    for velocity on the linear path 1.
    """
    a, b = TARGETS[kind](path, t)
    return path.alpha(t) * b - path.sigma(t) * a


def recover(kind: str, path: Path, out: Tensor, x_t: Tensor, t: Tensor, least: float = 0.0) -> Prediction:
    """Solve ``[alpha sigma; a b] [x0; eps] = [x_t; out]``.

    Args:
        kind: a key of TARGETS.
        out: the network's output, (B, C, H, W).
        x_t: the noisy images, (B, C, H, W).
        t: times, (B,) or a scalar tensor.
        least: least size of the determinant that is divided by, for ``eps - x0``. On the linear path that is the
            velocity of arXiv:2511.13720, table 1, with its denominators clipped. Estimates explain x_t all the same.

    The system is singular for eps where alpha = 0 and for x0 where sigma = 0; ``parts`` refuses the first
    combination unless it is clipped, and samplers never evaluate t = 0.
    """
    alpha, sigma = column(path.alpha(t), x_t), column(path.sigma(t), x_t)
    a, b = (column(c, x_t) for c in TARGETS[kind](path, t))
    det = alpha * b - sigma * a
    if least:
        det = torch.where(det < 0, det.clamp(max=-least), det.clamp(min=least))
        apart = ((alpha + sigma) * out - (a + b) * x_t) / det  # eps - x0, (B, C, H, W)
        return Prediction(x0=(x_t - sigma * apart) / (alpha + sigma), eps=(x_t + alpha * apart) / (alpha + sigma))
    return Prediction(x0=(b * x_t - sigma * out) / det, eps=(alpha * out - a * x_t) / det)
