"""What a network gets wrong at each noise level, and how straight its trajectories are."""

import torch
from torch import Tensor

from diffbench.diffusion.denoiser import Denoiser
from diffbench.diffusion.paths import Path
from diffbench.diffusion.samplers import Denoise, ddim
from diffbench.diffusion.targets import Prediction, column


def levels_in(path: Path, axis: str, low: float, high: float, u: Tensor) -> Tensor:
    """Times spread over a bin, (N,): the u-th quantile of [low, high] in t or in log-SNR, on the path's levels.

    Args:
        u: draws in [0, 1), the same in every row, (N,).
    """
    value = low + (high - low) * u
    t = path.time_at(value) if axis == "log_snr" else value
    return path.up_to_level(t).clamp(min=1e-6)


def covers(path: Path, low: float, high: float) -> bool:
    """Whether a path has all the noise levels of a bin of log-SNR."""
    noisiest, cleanest = path.log_snr_range()
    return noisiest <= low and high <= cleanest


def errors(denoiser: Denoiser, x0: Tensor, eps: Tensor, prompt: Tensor | None, t: Tensor) -> tuple[float, float]:
    """Mean squared errors of the estimates of x0 and of eps, over images (N, C, H, W) at times (N,)."""
    path = denoiser.path
    t = t.to(x0.dtype)
    x_t = column(path.alpha(t), x0) * x0 + column(path.sigma(t), x0) * eps
    found = denoiser(x_t, t, prompt)
    return float((found.x0 - x0).square().mean()), float((found.eps - eps).square().mean())


def trajectory(denoise: Denoise, path: Path, x: Tensor, ts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Euler's trajectory of the deterministic ODE in coordinates in which the path to one point is straight.

    With ``y = x / (alpha + sigma)`` and ``tau = sigma / (alpha + sigma)`` every path becomes the linear one,
    ``y = (1 - tau) x0 + tau eps`` and ``dy / dtau = eps - x0``, so that networks of different paths can be compared.

    Args:
        x: the start at ts[0], (B, C, H, W).
        ts: falling times, (S + 1,).

    Returns:
        y (S + 1, B, D), the velocities (S, B, D) and tau (S + 1,).
    """
    alpha, sigma = path.alpha(ts), path.sigma(ts)
    tau, total = sigma / (alpha + sigma), alpha + sigma
    tau, total = tau.to(x), total.to(x)
    points, velocities = [x / total[0]], []
    for i in range(len(ts) - 1):
        x0, eps = denoise(points[-1] * total[i], ts[i])
        velocities.append(eps - x0)
        points.append(points[-1] + (tau[i + 1] - tau[i]) * velocities[-1])
    return torch.stack(points).flatten(2), torch.stack(velocities).flatten(2), tau


def straightness(points: Tensor, velocities: Tensor, tau: Tensor) -> tuple[float, float, str]:
    """Length over chord, deviation from the chord's velocity, and a reason where they do not exist.

    The deviation is ``E |(y_1 - y_0) - dy/dtau|^2 / E |y_1 - y_0|^2`` (the straightness of arXiv:2209.03003,
    normalised), the chord extended to tau from 1 to 0 where the path stops short of pure noise.

    Args:
        points: (S + 1, B, D), from noise to data.
        velocities: (S, B, D), constant within each step.
        tau: (S + 1,).
    """
    stride = (tau[:-1] - tau[1:])[:, None]  # (S, 1)
    chord = points[0] - points[-1]  # (B, D)
    length = chord.norm(dim=1)  # (B,)
    if not bool(torch.isfinite(points).all()):
        return float("nan"), float("nan"), "a trajectory is not finite"
    if bool((length == 0).any()):
        return float("nan"), float("nan"), "a trajectory ends where it starts"
    ratio = (stride * velocities.norm(dim=2)).sum(dim=0) / length
    mean = chord / (tau[0] - tau[-1])
    weight = stride / stride.sum()
    departure = (weight * (velocities - mean).square().sum(dim=2)).sum(dim=0)
    return float(ratio.mean()), float(departure.mean() / mean.square().sum(dim=1).mean()), ""


def denoising(denoise: Denoise, path: Path, x: Tensor, ts: Tensor) -> tuple[Tensor, Tensor]:
    """What DDIM sees and guesses on its way from noise to data, for a film.

    Args:
        x: the start at ts[0], (B, C, H, W).
        ts: falling times, (S + 1,).

    Returns:
        x_t at every time, over 1 + sigma so that noise fits the range of greys, and the estimates of x0, of which the
        last is the result itself; (S + 1, B, C, H, W) each.
    """
    states, guesses = [], []

    def watched(x_t: Tensor, t: Tensor) -> Prediction:
        prediction = denoise(x_t, t)
        states.append(x_t)
        guesses.append(prediction.x0)
        return prediction

    last = ddim(watched, path, x, ts)
    sigma = path.sigma(ts).to(x)
    return torch.stack([*states, last]) / column(1 + sigma, x)[:, None], torch.stack([*guesses, last])
