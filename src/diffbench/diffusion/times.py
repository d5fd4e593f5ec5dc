"""Times: where training looks, and where sampling steps."""

import torch
from torch import Tensor

from diffbench.diffusion.paths import Path


def uniform(u: Tensor) -> Tensor:
    """t uniform on (0, 1]."""
    return 1 - u


def logit_normal(u: Tensor) -> Tensor:
    """t = sigmoid(n), n ~ N(0, 1): SD3's density, arXiv:2403.03206, eq. 19 with m = 0, s = 1."""
    return torch.sigmoid(torch.special.ndtri((1 - u).clamp(1e-6, 1 - 1e-6)))


DENSITIES = {"uniform": uniform, "logit-normal": logit_normal}


def training_times(density: str, u: Tensor, path: Path) -> Tensor:
    """Map uniform draws u in [0, 1) to training times on a path's levels, (B,) to (B,).

    Densities are quantile functions of u, so rows with different densities train on the same draws.
    """
    return path.up_to_level(DENSITIES[density](u))


def trailing(steps: int, levels: int | None) -> Tensor:
    """The S + 1 times 1 = t_0 > ... > t_S = 0 of an S-step sampler, float64, (S + 1,).

    "Trailing" spacing always starts at t = 1, the noisiest level (arXiv:2305.08891, table 2).

    Raises:
        ValueError: more steps than the schedule has levels.
    """
    if levels and steps > levels:
        raise ValueError(f"{steps} steps on a schedule of {levels}")
    t = 1 - torch.arange(steps + 1, dtype=torch.float64) / steps
    return (t * levels).round() / levels if levels else t


def leading(steps: int, levels: int | None) -> Tensor:
    """The S + 1 times of Stable Diffusion's own spacing: never the noisiest level, float64, (S + 1,).

    Level ``1 + (T // S) k`` for k = S - 1, ..., 0 and then t = 0 (arXiv:2305.08891, table 2). It starts from pure noise
    at a level that still holds signal. Where t is continuous, T is taken as 1000.

    Raises:
        ValueError: more steps than the schedule has levels.
    """
    count = levels or 1000
    if steps > count:
        raise ValueError(f"{steps} steps on a schedule of {count}")
    first = torch.arange(steps - 1, -1, -1, dtype=torch.float64) * (count // steps) + 1
    return torch.cat([first, first.new_zeros(1)]) / count


SPACINGS = {"trailing": trailing, "leading": leading}
