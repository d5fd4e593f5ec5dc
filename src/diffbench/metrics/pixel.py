"""Measures in pixels, which no classifier can mislead: a second Frechet distance, and copies of training images."""

import numpy as np
import torch
from torch import Tensor

from .frechet import Frechet
from .sets import Real, Samples, pixels

COMPONENTS = 64
CHUNK = 2000  # images held as float64, or rows of a distance matrix, at once
NEAR = 0.05  # quantile of the real test images' nearest distances below which a sample counts as a copy


class PCA:
    """Principal components of images, fitted in float64; at most ``COMPONENTS`` and no more than the data support.

    Pixels that never vary, and more components than images, would only add directions of rounding error.

    Args:
        images: uint8 (N, H, W).
        device: where to compute.

    Raises:
        ValueError: the images do not differ.
    """

    def __init__(self, images: np.ndarray, device: torch.device | str = "cpu"):
        chunks = range(0, len(images), CHUNK)
        total = torch.stack([pixels(images[i : i + CHUNK], device).sum(dim=0) for i in chunks]).sum(dim=0)
        self.mean = total / len(images)  # (P,)
        scatter = torch.zeros(len(self.mean), len(self.mean), dtype=torch.float64, device=device)
        for i in chunks:
            centred = pixels(images[i : i + CHUNK], device) - self.mean
            scatter += centred.T @ centred
        values, vectors = torch.linalg.eigh(scatter)  # rising
        supported = int((values > 1e-10 * values[-1].clamp(min=0)).sum())
        if supported == 0:
            raise ValueError("the real images do not differ, so they have no principal components")
        self.components = vectors.flip(1)[:, : min(COMPONENTS, supported)]  # (P, C)

    def __call__(self, images: np.ndarray) -> Tensor:
        """Coordinates (N, C) of uint8 images (N, H, W), in units of the full grey scale."""
        device = self.mean.device
        parts = [
            (pixels(images[i : i + CHUNK], device) - self.mean) @ self.components for i in range(0, len(images), CHUNK)
        ]
        return torch.cat(parts)


def nearest(images: np.ndarray, reference: Tensor) -> np.ndarray:
    """Euclidean distance of each uint8 image (N, H, W) to its nearest row of float32 pixels (M, P), (N,) float64.

    Candidates are found in float32, where a matrix product is fast, and only the winner's distance is computed
    exactly, so that a copy is at distance 0.
    """
    squares = reference.square().sum(dim=1)  # (M,)
    found = []
    for start in range(0, len(images), CHUNK):
        rows = pixels(images[start : start + CHUNK], reference.device, torch.float32)  # (rows, P)
        best, index = None, None
        for first in range(0, len(reference), 5 * CHUNK):
            part = slice(first, first + 5 * CHUNK)
            # |x - y|^2 without |x|^2, which does not change which y is nearest.
            distance = torch.addmm(squares[part], rows, reference[part].T, alpha=-2)  # (rows, part)
            value, where = distance.min(dim=1)
            closer = value < best if best is not None else torch.ones_like(value, dtype=torch.bool)
            best = torch.where(closer, value, best) if best is not None else value
            index = torch.where(closer, where + first, index) if index is not None else where
        found.append((rows.double() - reference[index].double()).square().sum(dim=1).sqrt())
    return torch.cat(found).cpu().numpy()


class Memorisation:
    """Share of images nearer to a training image than all but ``NEAR`` of the real test images are.

    Real images score about ``NEAR`` by construction: some people write alike.

    Args:
        train: training images, uint8 (N, H, W).
        test: test images, uint8 (T, H, W).
        device: where to compute.
    """

    def __init__(self, train: np.ndarray, test: np.ndarray, device: torch.device | str = "cpu"):
        self.train = pixels(train, device, torch.float32)
        self.threshold = float(np.quantile(nearest(test, self.train), NEAR))

    def __call__(self, images: np.ndarray) -> float:
        """The share for uint8 images (N, H, W).

        Raises:
            ValueError: no images.
        """
        if len(images) == 0:
            raise ValueError("no images")
        return float((nearest(images, self.train) < self.threshold).mean())


def family(real: Real):
    """Frechet distance in principal components of the training pixels, and the share of near copies."""
    device = real.features.device
    pca, copies = PCA(real.images, device), Memorisation(real.images, real.test_images, device)
    distance = Frechet(pca(real.images))

    def score(samples: Samples) -> dict[str, float]:
        return {"pca_fid": distance(pca(samples.images)), "memorisation": copies(samples.images)}

    return score
