"""Times: where training looks, and where sampling steps.

A rule for times means another thing on every path, because each path reaches a noise level at a time of its own. So a
rule may name a path, as in ``logit-normal@linear``: its times on that path are carried over to a row's own path by
their log-SNR. Two rows with one such rule see the same noise levels, whatever their paths. Some rules always mean one
path.
"""

from functools import cache

import torch
from torch import Tensor

from diffbench.diffusion.paths import EDM, PATHS, Path


def uniform(u: Tensor) -> Tensor:
    """t uniform on (0, 1]."""
    return 1 - u


def logit_normal(u: Tensor) -> Tensor:
    """t = sigmoid(n), n ~ N(0, 1): SD3's density, arXiv:2403.03206, eq. 19 with m = 0, s = 1."""
    return torch.sigmoid(torch.special.ndtri((1 - u).clamp(1e-6, 1 - 1e-6)))


def log_normal(u: Tensor) -> Tensor:
    """ln s ~ N(-1.2, 1.2^2), s being EDM's noise level (arXiv:2206.00364, table 1): times on its path."""
    return EDM().time(torch.exp(-1.2 + 1.2 * torch.special.ndtri((1 - u).clamp(1e-6, 1 - 1e-6))))


DENSITIES = {"uniform": uniform, "logit-normal": logit_normal, "log-normal": log_normal}
HOME = {"log-normal": "edm"}  # the path of rules that mean one


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


def ending(steps: int, levels: int | None) -> Tensor:
    """The S + 1 times of EDM's spacing: S equally far from the noisiest to the cleanest, then 0, float64, (S + 1,).

    On the path ``edm`` these are the noise levels of arXiv:2206.00364, eq. 5, with rho = 7. Where t is continuous the
    cleanest level is as near 0 as told apart.

    Raises:
        ValueError: more steps than the schedule has levels.
    """
    if levels and steps > levels:
        raise ValueError(f"{steps} steps on a schedule of {levels}")
    cleanest = 1 / levels if levels else 1e-6
    t = torch.linspace(1, cleanest, steps, dtype=torch.float64)
    t = (t * levels).round() / levels if levels else t
    return torch.cat([t, t.new_zeros(1)])


SPACINGS = {"trailing": trailing, "leading": leading, "ending": ending}


@cache
def _path(name: str) -> Path:
    return PATHS[name]()


def rule_and_path(name: str) -> tuple[str, str | None]:
    """The rule, and the path that it names or always means: None for a row's own."""
    rule, _, path = name.partition("@")
    return rule, path or HOME.get(rule)


def training_times(density: str, u: Tensor, path: Path) -> Tensor:
    """Map uniform draws u in [0, 1) to training times on a path's levels, (B,) to (B,).

    Densities are quantile functions of u, so rows with different densities train on the same draws.

    Args:
        density: a key of DENSITIES, alone or with the path that it is meant on.
    """
    rule, other = rule_and_path(density)
    t = DENSITIES[rule](u)
    if other is not None:
        meant = _path(other)
        t = path.time_at(meant.log_snr(meant.up_to_level(t))).to(u.dtype)
    return path.up_to_level(t)


def sampling_times(spacing: str, steps: int, path: Path) -> Tensor:
    """The S + 1 falling times of a sampler on a path, float64, (S + 1,), the last of them 0.

    A path of one level is taken in one step, however many are asked for.

    Args:
        spacing: a key of SPACINGS, alone or with the path that it is meant on. A start at that path's noisiest time is
            one at the noisiest time here, where both hold noise alone or nearly so.

    Raises:
        ValueError: more steps than the path tells apart.
    """
    rule, other = rule_and_path(spacing)
    if path.levels == 1:
        return torch.tensor([1.0, 0.0], dtype=torch.float64)
    if other is None:
        return SPACINGS[rule](steps, path.levels)
    meant = _path(other)
    ts = SPACINGS[rule](steps, meant.levels)
    carried = torch.cat([path.time_at(meant.log_snr(ts[:-1])), ts[-1:]])  # no path but has its data at t = 0
    carried[0] = torch.where(ts[0] == 1, 1.0, carried[0])
    if bool((carried.diff() >= 0).any()):
        raise ValueError(f"{steps} steps of {spacing} on a path without as many noise levels")
    return carried
