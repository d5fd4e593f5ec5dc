"""A denoiser: a network with the path it was trained on and the target it predicts."""

import torch
from torch import Tensor, nn

from diffbench.diffusion.paths import Path
from diffbench.diffusion.targets import Prediction, column, recover


class Denoiser(nn.Module):
    """``net(x_t, 1000 t, prompt)`` read as estimates of x0 and eps.

    A network that takes two times, ``net(x_t, 1000 t, prompt, 1000 end)``, is also told where the step ends.

    Args:
        net: maps images (B, C, H, W), times (B,) in [0, 1000] and prompts (B, 3) to (B, C, H, W).
        path: a path of ``paths.PATHS``.
        target: a key of ``targets.TARGETS``.
        least: as for ``targets.recover``.
    """

    def __init__(self, net: nn.Module, path: Path, target: str, least: float = 0.0):
        super().__init__()
        self.net, self.path, self.target, self.least = net, path, target, least

    def told(self, t: Tensor, x_t: Tensor) -> Tensor:
        """What the network is told of times (B,) on the images' device, or of one time () there or on the CPU; (B,)."""
        if t.device == x_t.device:
            times = t.to(x_t.dtype).expand(len(x_t))  # (B,)
        else:  # a sampler's time on the CPU, filled in by the device instead of copied to it
            times = torch.full((len(x_t),), float(t), dtype=x_t.dtype, device=x_t.device)
        return self.path.told(times)

    def output(self, x_t: Tensor, t: Tensor, prompt: Tensor | None, end: Tensor | None = None) -> Tensor:
        """The network's raw output in the images' precision, (B, C, H, W).

        Args:
            x_t: (B, C, H, W).
            t: times (B,) on the images' device, or one time () there or on the CPU.
            prompt: (B, 3), or None.
            end: where the step ends, as ``t``; only for a network that takes two times.
        """
        times = (self.told(t, x_t),) if end is None else (self.told(t, x_t), self.told(end, x_t))
        return self.net(x_t, times[0], prompt, *times[1:]).to(x_t.dtype)

    def read(self, out: Tensor, x_t: Tensor, t: Tensor) -> Prediction:
        """Estimates of x0 and eps, each (B, C, H, W), from the network's output on x_t at t."""
        return recover(self.target, self.path, out, x_t, t, self.least)

    def forward(self, x_t: Tensor, t: Tensor, prompt: Tensor | None) -> Prediction:
        """Estimates of x0 and eps, each (B, C, H, W)."""
        return self.read(self.output(x_t, t, prompt), x_t, t)


class Rescaled:
    """A denoiser on another path than the one it was trained on: its input is rescaled to the same log-SNR.

    At one log-SNR, ``x_t`` of two paths differ by a factor, the ratio of their sigmas; x0 and eps are the same. Exact
    but for the nearest level of a tabulated path.

    Args:
        denoiser: the trained denoiser.
        path: the path that is sampled on.
    """

    def __init__(self, denoiser: Denoiser, path: Path):
        self.denoiser, self.path = denoiser, path

    def _own(self, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """The images and the time as the network knows them."""
        own = self.denoiser.path
        time = own.time_at(self.path.log_snr(t)).to(t.dtype)
        return column(own.sigma(time) / self.path.sigma(t), x_t) * x_t, time

    def output(self, x_t: Tensor, t: Tensor, prompt: Tensor | None, end: Tensor | None = None) -> Tensor:
        """The network's raw output, (B, C, H, W); arguments as those of ``Denoiser.output``."""
        own_end = None if end is None else self._own(x_t, end)[1]
        return self.denoiser.output(*self._own(x_t, t), prompt, own_end)

    def read(self, out: Tensor, x_t: Tensor, t: Tensor) -> Prediction:
        """Estimates of x0 and eps, each (B, C, H, W), from the network's output on x_t at t."""
        return self.denoiser.read(out, *self._own(x_t, t))


def clamp(prediction: Prediction, path: Path, x_t: Tensor, t: Tensor) -> Prediction:
    """Clamp x0 to [-1, 1] and re-derive eps from it, so that both still explain x_t.

    One rule for every path, target and sampler: where the clamp differs, it decides few-step comparisons.
    """
    alpha, sigma = column(path.alpha(t), x_t), column(path.sigma(t), x_t)
    x0 = prediction.x0.clamp(-1, 1)
    return Prediction(x0, (x_t - alpha * x0) / sigma)
