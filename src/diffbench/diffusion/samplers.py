"""Samplers: pure functions from noise at t = 1 to images at t = 0.

Each takes ``denoise(x_t, t) -> Prediction`` with prompt and guidance already bound, the path, the start
``x`` (B, C, H, W), the times ``ts`` (S + 1,) in falling order, and ``noise(i)``, the noise of step i, which
only stochastic samplers call. None of them draws random numbers or changes its input. Keep ``ts`` on the CPU wherever
``x`` is: a schedule's lookups then never wait for the device.
"""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from diffbench.diffusion.paths import DifferentiablePath, Path, TabulatedVP
from diffbench.diffusion.targets import Prediction

Denoise = Callable[..., Prediction]
Noise = Callable[[int], Tensor]


def _drawn(noise: Noise | None, i: int) -> Tensor:
    """The noise of step i, for a sampler that wants some now.

    Raises:
        ValueError: there is none.
    """
    if noise is None:
        raise ValueError("a stochastic sampler needs noise")
    return noise(i)


def _tabulated(path: Path) -> TabulatedVP:
    """The path, which must have the betas of a schedule.

    Raises:
        TypeError: it has none.
    """
    if not isinstance(path, TabulatedVP):
        raise TypeError(f"{type(path).__name__} has no schedule of betas")
    return path


def ddim(denoise: Denoise, path: Path, x: Tensor, ts: Tensor, noise: Noise | None = None, eta: float = 0.0) -> Tensor:
    """DDIM (arXiv:2010.02502, eq. 12 and 16) on any path.

    Written with the signal-to-noise ratio, ``s^2 = eta^2 sigma_s^2 (1 - SNR_t / SNR_s)``, which is eq. 16 where
    the path preserves variance. eta = 0 is deterministic; eta = 1 on adjacent steps is the DDPM posterior.
    """
    for i, (t, s) in enumerate(pairwise(ts)):
        alpha_t, sigma_t, alpha_s, sigma_s = path.alpha(t), path.sigma(t), path.alpha(s), path.sigma(s)
        x0, eps = denoise(x, t)
        fresh = eta * sigma_s * (1 - (alpha_t * sigma_s / (alpha_s * sigma_t)) ** 2).clamp(min=0).sqrt()
        x = alpha_s * x0 + (sigma_s**2 - fresh**2).clamp(min=0).sqrt() * eps
        if eta > 0 and i < len(ts) - 2:  # no noise on the last step
            x = x + fresh * _drawn(noise, i)
    return x


def ancestral(
    denoise: Denoise, path: Path, x: Tensor, ts: Tensor, noise: Noise | None = None, variance: str | None = None
) -> Tensor:
    """DDPM's ancestral sampler (arXiv:2006.11239, eq. 6 and 7), respaced (arXiv:2102.09672, eq. 19).

    Args:
        variance: "large" for beta_t, "small" for the posterior variance. By default "large" when every step of
            the schedule is taken, as DDPM did on CIFAR-10, and "small" otherwise: beta_t is far too much noise
            for a long stride (arXiv:2010.02502, table 1).
    """
    variance = variance or ("large" if len(ts) - 1 == _tabulated(path).levels else "small")
    for i, (t, s) in enumerate(pairwise(ts)):
        alpha_t, sigma_t, alpha_s, sigma_s = path.alpha(t), path.sigma(t), path.alpha(s), path.sigma(s)
        stride = alpha_t / alpha_s  # sqrt(1 - beta) of this stride
        beta = 1 - stride**2
        x0 = denoise(x, t).x0
        x = (alpha_s * beta * x0 + stride * sigma_s**2 * x) / sigma_t**2
        if i < len(ts) - 2:
            x = x + (beta if variance == "large" else beta * sigma_s**2 / sigma_t**2).sqrt() * _drawn(noise, i)
    return x


def _slope(path: Path, t: Tensor, prediction: Prediction) -> Tensor:
    """The right-hand side of the probability-flow ODE in the coordinates of ``_advance``."""
    if isinstance(path, DifferentiablePath):
        return path.d_alpha(t) * prediction.x0 + path.d_sigma(t) * prediction.eps
    return prediction.eps


def _advance(path: Path, x: Tensor, t: Tensor, s: Tensor, slope: Tensor) -> Tensor:
    """One straight step from t to s along ``slope``.

    Without derivatives, as on a tabulated path, the ODE is ``d(x / alpha) / d(sigma / alpha) = eps``
    (arXiv:2010.02502, eq. 14), where such a step is DDIM's; with them it is ``dx / dt = alpha' x0 + sigma' eps``
    (arXiv:2403.03206, eq. 1).
    """
    if isinstance(path, DifferentiablePath):
        return x + (s - t) * slope
    alpha_t, alpha_s = path.alpha(t), path.alpha(s)
    # alpha_s (x / alpha_t + (sigma_s / alpha_s - sigma_t / alpha_t) slope), the division by alpha_s multiplied out
    return x * (alpha_s / alpha_t) + (path.sigma(s) - path.sigma(t) * (alpha_s / alpha_t)) * slope


def _to_data_or_from_noise(path: Path, ts: Tensor) -> set[int]:
    """The steps that only DDIM can take: from alpha = 0, where x / alpha is undefined, and to sigma = 0."""
    ends = []
    if not isinstance(path, DifferentiablePath) and float(path.alpha(ts[0])) == 0:
        ends.append(0)
    if float(path.sigma(ts[-1])) == 0:
        ends.append(len(ts) - 2)
    return set(ends)


def euler(denoise: Denoise, path: Path, x: Tensor, ts: Tensor, noise: Noise | None = None) -> Tensor:
    """Euler steps of the probability-flow ODE, order 1."""
    ends = _to_data_or_from_noise(path, ts)
    for i, (t, s) in enumerate(pairwise(ts)):
        prediction = denoise(x, t)
        if i in ends:
            x = path.alpha(s) * prediction.x0 + path.sigma(s) * prediction.eps
        else:
            x = _advance(path, x, t, s, _slope(path, t, prediction))
    return x


def heun(denoise: Denoise, path: Path, x: Tensor, ts: Tensor, noise: Noise | None = None) -> Tensor:
    """Heun's second-order steps of the probability-flow ODE (arXiv:2206.00364, algorithm 1).

    Two evaluations a step, and one for a step to t = 0 or from alpha = 0, which is DDIM's.
    """
    ends = _to_data_or_from_noise(path, ts)
    for i, (t, s) in enumerate(pairwise(ts)):
        prediction = denoise(x, t)
        if i in ends:
            x = path.alpha(s) * prediction.x0 + path.sigma(s) * prediction.eps
            continue
        slope = _slope(path, t, prediction)
        guess = _advance(path, x, t, s, slope)
        x = _advance(path, x, t, s, (slope + _slope(path, s, denoise(guess, s))) / 2)
    return x


def dpmpp_2m(denoise: Denoise, path: Path, x: Tensor, ts: Tensor, noise: Noise | None = None) -> Tensor:
    """DPM-Solver++(2M), order 2 with one evaluation a step (arXiv:2211.01095, algorithm 2).

    The exponential-integrator step ``-alpha_s (e^-h - 1)`` is written ``alpha_s - alpha_t sigma_s / sigma_t``, which is
    finite where log(alpha / sigma) is not. The first step, and a step to t = 0, are first order: DDIM's.
    """
    alpha, sigma = path.alpha(ts), path.sigma(ts)  # (S + 1,)
    half_log_snr = (alpha / sigma).log()
    to_data = bool(sigma[-1] == 0)
    before = None
    for i in range(len(ts) - 1):
        x0 = extrapolated = denoise(x, ts[i]).x0
        if before is not None and not (to_data and i == len(ts) - 2):
            h, last = half_log_snr[i + 1] - half_log_snr[i], half_log_snr[i] - half_log_snr[i - 1]
            extrapolated = x0 + h / (2 * last) * (x0 - before)  # h / inf = 0: a start at alpha = 0 has no past
        ratio = sigma[i + 1] / sigma[i]
        x = ratio * x + (alpha[i + 1] - alpha[i] * ratio) * extrapolated
        before = x0
    return x


def flow_map(denoise: Denoise, path: Path, x: Tensor, ts: Tensor, noise: Noise | None = None) -> Tensor:
    """Steps of a network that is told where each ends and gives the mean velocity until there (arXiv:2505.13447).

    ``x_s = x_t - (t - s) u(x_t, s, t)``: what is read from u as x0 and eps, put together at s. Exact in one step where
    u is exact.
    """
    for t, s in pairwise(ts):
        x0, eps = denoise(x, t, s)
        x = path.alpha(s) * x0 + path.sigma(s) * eps
    return x


def ddim_article(
    denoise: Denoise, path: Path, x: Tensor, ts: Tensor, noise: Noise | None = None, reading: str = "ratio"
) -> Tensor:
    """The update the article prints for DDIM, ``x = (x - eps dt) / sqrt(1 - dt)``. Not DDIM: a demonstration.

    Args:
        reading: what dt, which the article never defines, stands for: "step" 1 / S, "beta" the schedule's beta_t, or
            "ratio" ``1 - abar_t / abar_s``, the beta of the whole stride.
    """
    level = 1 / _tabulated(path).levels
    readings: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "step": lambda t, s: torch.ones_like(t) / (len(ts) - 1),
        "beta": lambda t, s: 1 - (path.alpha(t) / path.alpha(t - level)) ** 2,
        "ratio": lambda t, s: 1 - (path.alpha(t) / path.alpha(s)) ** 2,
    }
    for t, s in pairwise(ts):
        dt = readings[reading](t, s)
        x = (x - denoise(x, t).eps * dt) / (1 - dt).sqrt()
    return x


SAMPLERS: dict[str, Callable[..., Tensor]] = {
    "ddim": ddim,
    "ancestral": ancestral,
    "euler": euler,
    "heun": heun,
    "dpmpp-2m": dpmpp_2m,
    "flow-map": flow_map,
    "ddim-article": ddim_article,
}
VP_ONLY = ("ancestral", "ddim-article")  # written in the betas of a tabulated schedule
TWO_TIMES = ("flow-map",)  # of networks that take two times
