"""A denoiser: a network with the path it was trained on and the target it predicts."""

import torch
from torch import Tensor, nn

from diffbench.diffusion.paths import Path
from diffbench.diffusion.targets import Prediction, column, recover


class Denoiser(nn.Module):
    """``net(x_t, 1000 t, prompt)`` read as estimates of x0 and eps.

    Args:
        net: maps images (B, C, H, W), times (B,) in [0, 1000] and prompts (B, 3) to (B, C, H, W).
        path: a path of ``paths.PATHS``.
        target: a key of ``targets.TARGETS``.
    """

    def __init__(self, net: nn.Module, path: Path, target: str):
        super().__init__()
        self.net, self.path, self.target = net, path, target

    def output(self, x_t: Tensor, t: Tensor, prompt: Tensor | None) -> Tensor:
        """The network's raw output in the images' precision, (B, C, H, W).

        Args:
            x_t: (B, C, H, W).
            t: times (B,) on the images' device, or one time () there or on the CPU.
            prompt: (B, 3), or None.
        """
        if t.device == x_t.device:
            times = t.to(x_t.dtype).expand(len(x_t))  # (B,)
        else:  # a sampler's time on the CPU, filled in by the device instead of copied to it
            times = torch.full((len(x_t),), float(t), dtype=x_t.dtype, device=x_t.device)
        return self.net(x_t, 1000 * times, prompt).to(x_t.dtype)

    def forward(self, x_t: Tensor, t: Tensor, prompt: Tensor | None) -> Prediction:
        """Estimates of x0 and eps, each (B, C, H, W)."""
        return recover(self.target, self.path, self.output(x_t, t, prompt), x_t, t)


def clamp(prediction: Prediction, path: Path, x_t: Tensor, t: Tensor) -> Prediction:
    """Clamp x0 to [-1, 1] and re-derive eps from it, so that both still explain x_t.

    One rule for every path, target and sampler: where the clamp differs, it decides few-step comparisons.
    """
    alpha, sigma = column(path.alpha(t), x_t), column(path.sigma(t), x_t)
    x0 = prediction.x0.clamp(-1, 1)
    return Prediction(x0, (x_t - alpha * x0) / sigma)
