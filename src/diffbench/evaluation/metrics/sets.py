"""What a measure sees: the real images, and a set of samples."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


def _check(images: np.ndarray) -> None:
    """Grey levels only: a float image may hold NaN, and its scale is anybody's guess."""
    if images.dtype != np.uint8 or images.ndim != 3:
        raise ValueError(f"images of {images.dtype} and shape {images.shape}; expected uint8 (N, H, W)")


@dataclass(frozen=True)
class Real:
    """The real images that samples are measured against.

    Attributes:
        features: of the training split, (N, F).
        neighbourhood: of as many of them as there are samples in a cell, (M, F).
        neighbours: k of the nearest-neighbour measures.
        bounds: terciles of weight and slant, (2, 10, 2).
        images: the training split, uint8 (N, H, W).
        labels: its digits, (N,).
        test_images: the whole test split, uint8 (T, H, W).
        near: distance to a training image below which a sample counts as a copy; None where it is not known yet.
        unseen: images no network was trained on, uint8 (U, H, W), and none of the samples; the test split unless given.
        withheld: combinations of digit, weight and slant that no network was trained on, (10, 3, 3) bool; None where
            there are none.
        held_out: features of the validation split, which no network is trained on, (V, F); None where they are missing.

    Raises:
        ValueError: images are not uint8 (N, H, W), or there are not as many features, images and labels.
    """

    features: Tensor
    neighbourhood: Tensor
    neighbours: int
    bounds: np.ndarray
    images: np.ndarray
    labels: np.ndarray
    test_images: np.ndarray
    near: float | None = None
    held_out: Tensor | None = None
    withheld: np.ndarray | None = None
    unseen: np.ndarray | None = None

    def __post_init__(self):
        _check(self.images)
        _check(self.test_images)
        if not len(self.features) == len(self.images) == len(self.labels):
            counts = len(self.features), len(self.images), len(self.labels)
            raise ValueError(f"{counts[0]} features of {counts[1]} real images with {counts[2]} labels")


@dataclass(frozen=True)
class Samples:
    """Samples of one cell.

    Attributes:
        images: uint8 (N, H, W).
        features: (N, F), of the classifier's penultimate layer.
        logits: (N, 10), of the classifier.
        prompt: what each was asked to show, (N, 3), or None where nothing was asked for.

    Raises:
        ValueError: images are not uint8 (N, H, W), a feature or logit is not finite, or the counts differ.
    """

    images: np.ndarray
    features: Tensor
    logits: Tensor
    prompt: np.ndarray | None

    def __post_init__(self):
        _check(self.images)
        if not (torch.isfinite(self.features).all() and torch.isfinite(self.logits).all()):
            raise ValueError("a feature or a logit is not finite")
        counts = [len(self.images), len(self.features), len(self.logits)]
        counts += [] if self.prompt is None else [len(self.prompt)]
        if len(set(counts)) > 1:
            raise ValueError(f"{counts} images, features, logits and prompts; expected as many of each")

    @property
    def digits(self) -> np.ndarray:
        """The digit each was asked to show or, where nothing was asked for, its most likely class, (N,)."""
        return self.logits.argmax(dim=1).cpu().numpy() if self.prompt is None else self.prompt[:, 0]


def pixels(images: np.ndarray, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float64) -> Tensor:
    """uint8 images (N, H, W) to (N, H * W) from 0 to 1."""
    return torch.from_numpy(images).to(device).flatten(1).to(dtype) / 255
