"""Probability paths ``x_t = alpha(t) x0 + sigma(t) eps`` from data (t = 0) to noise (t = 1).

``sigma`` always means the coefficient of the noise. Coefficients lie where the times lie: training asks with times
on the device, samplers with one time on the CPU, whose coefficients then enter the device's kernels as plain numbers.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

SIGMA_DATA = 0.96  # root mean square of MNIST's pixels in [-1, 1]; see EDM


class Path(ABC):
    """Coefficients of data and noise as functions of time.

    Attributes:
        levels: number of equal steps of t that the path is defined on; None where t is continuous.
    """

    levels: int | None = None

    def told(self, t: Tensor) -> Tensor:
        """What a network is told of times, shape of ``t``, in [0, 1000]."""
        return 1000 * t

    @abstractmethod
    def alpha(self, t: Tensor) -> Tensor:
        """Coefficient of the data, same shape and device as ``t``."""

    @abstractmethod
    def sigma(self, t: Tensor) -> Tensor:
        """Coefficient of the noise, same shape and device as ``t``."""

    @abstractmethod
    def time_at(self, log_snr: Tensor) -> Tensor:
        """The time whose ``log(alpha^2 / sigma^2)`` is this or nearest to it, shape of ``log_snr``; never t = 0."""

    def log_snr(self, t: Tensor) -> Tensor:
        """``log(alpha^2 / sigma^2)``, shape of ``t``: infinite where there is no noise, minus infinity without data."""
        return 2 * (self.alpha(t) / self.sigma(t)).log()

    def log_snr_range(self) -> tuple[float, float]:
        """The log-SNR of the noisiest and of the cleanest noise level but the data; infinite where t is continuous."""
        return -math.inf, math.inf

    def up_to_level(self, t: Tensor) -> Tensor:
        """Times rounded up to the path's levels but 0, shape of ``t``; as they are where t is continuous."""
        return t if self.levels is None else (t * self.levels).ceil().clamp(min=1) / self.levels


class DifferentiablePath(Path):
    """A path in continuous time whose coefficients have derivatives, so that it has a velocity."""

    @abstractmethod
    def d_alpha(self, t: Tensor) -> Tensor:
        """Derivative of alpha, shape of ``t``."""

    @abstractmethod
    def d_sigma(self, t: Tensor) -> Tensor:
        """Derivative of sigma, shape of ``t``."""


class TabulatedVP(Path):
    """Variance-preserving path on the T integer steps of a DDPM schedule, ``alpha^2 + sigma^2 = 1``.

    Times are multiples of 1/T; t = i/T reads ``abar_i = prod_{j <= i} (1 - beta_j)`` with ``abar_0 = 1``,
    so t = 0 is exactly the data (arXiv:2006.11239, eq. 4).

    Args:
        beta: the T variances ``beta_1 .. beta_T``, float64, (T,).
    """

    levels: int

    def __init__(self, beta: Tensor):
        self.levels = len(beta)
        abar = torch.cat([beta.new_ones(1), torch.cumprod(1 - beta, 0)])  # (T + 1,)
        self._tables = {beta.device: (abar.sqrt(), (1 - abar).sqrt())}  # alpha and sigma, (T + 1,) each

    def _on(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """The tables of alpha and sigma on a device, copied there once."""
        if device not in self._tables:
            alpha, sigma = next(iter(self._tables.values()))
            self._tables[device] = alpha.to(device), sigma.to(device)
        return self._tables[device]

    def _read(self, table: Tensor, t: Tensor) -> Tensor:
        return table[(t * self.levels).round().long()].to(t.dtype)

    def alpha(self, t: Tensor) -> Tensor:
        """Square root of abar."""
        return self._read(self._on(t.device)[0], t)

    def sigma(self, t: Tensor) -> Tensor:
        """Square root of 1 - abar."""
        return self._read(self._on(t.device)[1], t)

    def log_snr_range(self) -> tuple[float, float]:
        """That of the last level and of the first."""
        noisiest, cleanest = self.log_snr(torch.tensor([1.0, 1 / self.levels], dtype=torch.float64)).tolist()
        return noisiest, cleanest

    def time_at(self, log_snr: Tensor) -> Tensor:
        """The level nearest in log-SNR."""
        alpha, sigma = self._on(log_snr.device)
        table = 2 * (alpha[1:] / sigma[1:]).log()  # (T,), falling
        middle = -(table[1:] + table[:-1]) / 2  # rising, so that it can be searched
        return (1 + torch.searchsorted(middle, -log_snr.to(table.dtype))).to(table.dtype) / self.levels


class Linear(DifferentiablePath):
    """The straight conditional path of rectified flow, ``x_t = (1 - t) x0 + t eps`` (arXiv:2209.03003)."""

    def alpha(self, t: Tensor) -> Tensor:
        """Coefficient of the data, ``1 - t``."""
        return 1 - t

    def sigma(self, t: Tensor) -> Tensor:
        """Coefficient of the noise, ``t``."""
        return t

    def d_alpha(self, t: Tensor) -> Tensor:
        """Derivative of alpha, -1."""
        return -torch.ones_like(t)

    def d_sigma(self, t: Tensor) -> Tensor:
        """Derivative of sigma, 1."""
        return torch.ones_like(t)

    def time_at(self, log_snr: Tensor) -> Tensor:
        """Its sigmoid: ``(1 - t) / t`` is ``exp(log_snr / 2)``."""
        return torch.sigmoid(-log_snr / 2)


class EDM(Path):
    """EDM's noise levels from 0.002 to 80, as its network sees them: ``x_t = c_in (x0 + s eps)`` (arXiv:2206.00364).

    ``c_in = 1 / sqrt(s^2 + d^2)`` (table 1) is part of the path, so that a network's input and the start of sampling
    have size 1 as on the other paths. Solvers work in ``x_t / alpha``, EDM's own coordinates. d is SIGMA_DATA: the root
    mean square of pixels and not their spread, because most of MNIST's are -1, and only so do input and target have
    size 1. It is a constant, as the paper's 0.5 is: were it measured, the path would be another for each data set, and
    sampling would have to read the data.

    Time is such that equal steps are the paper's with rho = 7 (eq. 5). At t = 0 stand the data, not the lowest level.
    """

    LOWEST, HIGHEST, RHO = 0.002, 80.0, 7.0

    def level(self, t: Tensor) -> Tensor:
        """The noise level s, shape of ``t``."""
        low, high = (s ** (1 / self.RHO) for s in (self.LOWEST, self.HIGHEST))
        return torch.where(t > 0, (low + t * (high - low)) ** self.RHO, 0.0)

    def time(self, level: Tensor) -> Tensor:
        """The time of a noise level or of the nearest there is, shape of ``level``; never t = 0."""
        low, high = (s ** (1 / self.RHO) for s in (self.LOWEST, self.HIGHEST))
        return ((level ** (1 / self.RHO) - low) / (high - low)).clamp(1e-6, 1)

    def alpha(self, t: Tensor) -> Tensor:
        """``c_in``, and 1 at t = 0."""
        return torch.where(t > 0, 1 / (self.level(t) ** 2 + SIGMA_DATA**2).sqrt(), 1.0)

    def sigma(self, t: Tensor) -> Tensor:
        """``c_in s``."""
        return self.alpha(t) * self.level(t)

    def told(self, t: Tensor) -> Tensor:
        """``c_noise = ln(s) / 4`` (table 1), its range stretched to [0, 1000]."""
        low, high = (math.log(s) / 4 for s in (self.LOWEST, self.HIGHEST))
        return 1000 * (self.level(t).log() / 4 - low) / (high - low)

    def time_at(self, log_snr: Tensor) -> Tensor:
        """``s = exp(-log_snr / 2)``."""
        return self.time(torch.exp(-log_snr / 2))

    def log_snr_range(self) -> tuple[float, float]:
        """That of the highest and of the lowest noise level."""
        return -2 * math.log(self.HIGHEST), -2 * math.log(self.LOWEST)


def vp_linear() -> TabulatedVP:
    """DDPM's schedule: beta linear from 1e-4 to 0.02, T = 1000 (arXiv:2006.11239, section 4)."""
    return TabulatedVP(torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64))


def vp_scaled_linear() -> TabulatedVP:
    """Stable Diffusion's schedule: sqrt(beta) linear from sqrt(0.00085) to sqrt(0.012), T = 1000.

    Its terminal SNR is not zero: a start from pure noise is off by 1.4 standard errors of the image mean on
    MNIST (arXiv:2305.08891 discusses the effect).
    """
    return TabulatedVP(torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2)


def zero_terminal_snr(beta: Tensor) -> Tensor:
    """The schedule shifted and scaled so that its last level holds no signal (arXiv:2305.08891, algorithm 1).

    Args:
        beta: the T variances, float64, (T,).

    Returns:
        The new variances, (T,); the first level is kept, the last beta is 1.
    """
    root = torch.cumprod(1 - beta, 0).sqrt()
    root = (root - root[-1]) * root[0] / (root[0] - root[-1])
    abar = root**2
    return 1 - abar / torch.cat([abar.new_ones(1), abar[:-1]])


def vp_scaled_linear_ztsnr() -> TabulatedVP:
    """Stable Diffusion's schedule with zero terminal SNR; eps says nothing at its end, so it wants v or x0."""
    beta = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    return TabulatedVP(zero_terminal_snr(beta))


def one_level() -> TabulatedVP:
    """Noise or data and nothing between: the path of a generator that maps one to the other (arXiv:2602.04770)."""
    return TabulatedVP(torch.ones(1, dtype=torch.float64))


PATHS: dict[str, Callable[[], Path]] = {
    "vp-linear": vp_linear,
    "vp-scaled-linear": vp_scaled_linear,
    "vp-scaled-linear-ztsnr": vp_scaled_linear_ztsnr,
    "linear": Linear,
    "edm": EDM,
    "one-level": one_level,
}
