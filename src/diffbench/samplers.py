"""Samplers: pure functions from noise at t = 1 to images at t = 0.

Each takes ``denoise(x_t, t) -> Prediction`` with prompt and guidance already bound, the path, the start
``x`` (B, C, H, W), the times ``ts`` (S + 1,) in falling order, and ``noise(i)``, the noise of step i, which
only stochastic samplers call. None of them draws random numbers or changes its input.
"""

from collections.abc import Callable
from itertools import pairwise

from torch import Tensor, nn

from .targets import Prediction

Denoise = Callable[[Tensor, Tensor], Prediction]
Noise = Callable[[int], Tensor]


def ddim(denoise: Denoise, path: nn.Module, x: Tensor, ts: Tensor, noise: Noise | None = None, eta: float = 0.0):
    """DDIM (arXiv:2010.02502, eq. 12 and 16) on any path.

    Written with the signal-to-noise ratio, ``s^2 = eta^2 sigma_s^2 (1 - SNR_t / SNR_s)``, which is eq. 16 where
    the path preserves variance. eta = 0 is deterministic; eta = 1 on adjacent steps is the DDPM posterior.
    """
    for i, (t, s) in enumerate(pairwise(ts)):
        alpha_t, sigma_t, alpha_s, sigma_s = path.alpha(t), path.sigma(t), path.alpha(s), path.sigma(s)
        x0, eps = denoise(x, t)
        fresh = eta * sigma_s * (1 - (alpha_t * sigma_s / (alpha_s * sigma_t)) ** 2).clamp(min=0).sqrt()
        x = alpha_s * x0 + (sigma_s**2 - fresh**2).clamp(min=0).sqrt() * eps
        if eta > 0 and i < len(ts) - 2:  # no noise on the last step; asking `s > 0` would wait for the device
            x = x + fresh * noise(i)
    return x


def ancestral(
    denoise: Denoise, path: nn.Module, x: Tensor, ts: Tensor, noise: Noise, variance: str | None = None
) -> Tensor:
    """DDPM's ancestral sampler (arXiv:2006.11239, eq. 6 and 7), respaced (arXiv:2102.09672, eq. 19).

    Args:
        variance: "large" for beta_t, "small" for the posterior variance. By default "large" when every step of
            the schedule is taken, as DDPM did on CIFAR-10, and "small" otherwise: beta_t is far too much noise
            for a long stride (arXiv:2010.02502, table 1).
    """
    variance = variance or ("large" if len(ts) - 1 == path.levels else "small")
    for i, (t, s) in enumerate(pairwise(ts)):
        alpha_t, sigma_t, alpha_s, sigma_s = path.alpha(t), path.sigma(t), path.alpha(s), path.sigma(s)
        stride = alpha_t / alpha_s  # sqrt(1 - beta) of this stride
        beta = 1 - stride**2
        x0 = denoise(x, t).x0
        x = (alpha_s * beta * x0 + stride * sigma_s**2 * x) / sigma_t**2
        if i < len(ts) - 2:
            x = x + (beta if variance == "large" else beta * sigma_s**2 / sigma_t**2).sqrt() * noise(i)
    return x


def euler(denoise: Denoise, path: nn.Module, x: Tensor, ts: Tensor, noise: Noise | None = None) -> Tensor:
    """Euler steps of the probability-flow ODE.

    On a variance-preserving path the ODE is ``d(x / alpha) / d(sigma / alpha) = eps`` (arXiv:2010.02502, eq. 14),
    where Euler is DDIM; on the linear path it is ``dx / dt = alpha' x0 + sigma' eps`` (arXiv:2403.03206, eq. 1).
    """
    for t, s in pairwise(ts):
        alpha_t, alpha_s = path.alpha(t), path.alpha(s)
        x0, eps = denoise(x, t)
        if path.levels is None:
            x = x + (s - t) * (path.d_alpha(t) * x0 + path.d_sigma(t) * eps)
        else:
            x = alpha_s * (x / alpha_t + (path.sigma(s) / alpha_s - path.sigma(t) / alpha_t) * eps)
    return x


SAMPLERS = {"ddim": ddim, "ancestral": ancestral, "euler": euler}
