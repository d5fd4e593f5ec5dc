"""When snapshots are taken, and a network as it was then."""

import math
from pathlib import Path

import torch

from diffbench.config.models import Training
from diffbench.diffusion.denoiser import Denoiser
from diffbench.errors import UserError
from diffbench.runtime import checkpoint
from diffbench.training.flat_parameters import flatten


def images_at_snapshots(training: Training) -> list[int]:
    """Images seen at each snapshot and at the end of a training, rising: whole batches, rounded up."""
    steps = math.ceil(training.images / training.batch_size)
    return [training.batch_size * math.ceil(share * steps) for share in [*sorted(training.snapshots), 1]]


def wind_back(denoiser: Denoiser, path: Path, training: Training, share: float) -> Denoiser:
    """The denoiser with the averaged weights, in half precision, that it had after a share of its training.

    Args:
        denoiser: of the same network and memory format as in training.
        path: the training's snapshots.
        share: one of ``training.snapshots``.

    Raises:
        UserError: the file is missing, damaged, or of another network, or holds no such snapshot.
    """
    tensors, header = checkpoint.load(path)
    weights = flatten(denoiser.net)  # (P,)
    images = images_at_snapshots(training)[sorted(training.snapshots).index(share)]
    if tensors["ema"].shape[1:] != weights.shape or images not in header["images"]:
        raise UserError(f"{path}: holds other networks than params say; delete it and run again")
    with torch.no_grad():
        weights.copy_(tensors["ema"][header["images"].index(images)])
    return denoiser.eval().requires_grad_(False)
