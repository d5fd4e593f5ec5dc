"""A data set in one file: three splits, their prompts, and the grey levels of its images."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from diffbench.errors import UserError
from diffbench.runtime.npz import load_arrays

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Split:
    """Images (N, H, W) uint8, labels (N,) int64 and prompts (N, 3) int64."""

    images: np.ndarray
    labels: np.ndarray
    prompts: np.ndarray


@dataclass(frozen=True)
class Dataset:
    """The three splits, and what they share.

    Attributes:
        bounds: terciles of weight and slant, (2, 10, 2).
        levels: grey levels of the images.
        classes: a word for each label.
    """

    train: Split
    validation: Split
    test: Split
    bounds: np.ndarray
    levels: int
    classes: tuple[str, ...]

    @property
    def side(self) -> int:
        """Side of the images in pixels."""
        return self.train.images.shape[-1]


def load(path: Path) -> Dataset:
    """The data file of a run.

    Raises:
        UserError: missing or damaged.
    """
    arrays = load_arrays(path)
    try:
        splits = {
            name: Split(arrays[f"{name}_images"], arrays[f"{name}_labels"], arrays[f"{name}_prompts"])
            for name in SPLITS
        }
        return Dataset(
            **splits, bounds=arrays["bounds"], levels=int(arrays["levels"]), classes=tuple(arrays["classes"].tolist())
        )
    except KeyError as error:
        raise UserError(f"{path}: lacks {error}; delete it and run 'snakemake --cores all' again") from None


def to_float(images: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """uint8 images (N, H, W) to float32 (N, 1, H, W) in [-1, 1]."""
    return torch.from_numpy(images).to(device)[:, None].float().div_(127.5).sub_(1)  # all of MNIST is 170 MB each time
