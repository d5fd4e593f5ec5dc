"""The training objective, on explicit draws."""

from torch import Tensor

from diffbench.diffusion.denoiser import Denoiser
from diffbench.diffusion.targets import column, target


def loss(denoiser: Denoiser, x0: Tensor, prompt: Tensor | None, t: Tensor, eps: Tensor) -> Tensor:
    """Unweighted mean squared error of the target for each image, (B,) (arXiv:2006.11239, eq. 14)."""
    path = denoiser.path
    x_t = column(path.alpha(t), x0) * x0 + column(path.sigma(t), x0) * eps
    wanted = target(denoiser.target, path, x0, eps, t)
    return (denoiser.output(x_t, t, prompt) - wanted).square().mean(dim=(1, 2, 3))
