"""From a row of the params to a denoiser, and from its file back."""

from pathlib import Path

import torch

from diffbench.config.models import Compute, Paradigm
from diffbench.diffusion.denoiser import Denoiser
from diffbench.diffusion.networks import NETWORKS
from diffbench.diffusion.paths import PATHS
from diffbench.diffusion.targets import CLIP, TARGETS, target_and_loss
from diffbench.errors import UserError
from diffbench.runtime import checkpoint


def build(paradigm: Paradigm, side: int) -> Denoiser:
    """The untrained denoiser of a row, for images of ``side`` x ``side`` pixels."""
    net = NETWORKS[paradigm.network](side, paradigm.conditional, **paradigm.size)
    given, on = target_and_loss(paradigm.target)
    clipped = "@" in paradigm.target and on in TARGETS
    return Denoiser(net, PATHS[paradigm.path](), given, CLIP if clipped else 0.0)


def parameters(denoiser: Denoiser) -> int:
    """Number of trained parameters."""
    return sum(parameter.numel() for parameter in denoiser.parameters())


def fuse(denoiser: Denoiser, compute: Compute) -> None:
    """Compile the network where params ask for it; weights, their names and what the network says stay as they are.

    Small maps leave a network waiting for memory between its products, and fused operations pass over it less often.
    Compiled code is kept between jobs in torch's own cache. Each batch size is compiled for itself.
    """
    if compute.compile:
        denoiser.net.compile(dynamic=False)


def on_device(denoiser: Denoiser, device: torch.device) -> Denoiser:
    """The denoiser on a device, its weights channels-last.

    oneDNN and cuDNN convolve those without reordering: 7 to 13% off a U-Net's training step on a CPU.
    """
    denoiser.to(device=device)
    return denoiser.to(memory_format=torch.channels_last)


def load(path: Path, paradigm: Paradigm, side: int, device: torch.device) -> tuple[Denoiser, str]:
    """A trained denoiser on its device, ready to sample, and its training's status, "ok" or "failed".

    Raises:
        UserError: the file is missing, damaged, or of another network.
    """
    denoiser = build(paradigm, side)
    weights, header = checkpoint.load(path)
    try:
        denoiser.net.load_state_dict(weights)
    except RuntimeError:
        raise UserError(f"{path}: holds another network than params say; delete it and run again") from None
    return on_device(denoiser, device).eval().requires_grad_(False), header["status"]
