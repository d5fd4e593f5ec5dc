"""Measures in pixels, which no classifier can mislead: a second Frechet distance, and copies of training images."""

import numpy as np
import torch
from torch import Tensor

from diffbench.evaluation.metrics.frechet import Frechet
from diffbench.evaluation.metrics.sets import Real, Samples, pixels

COMPONENTS = 64
CHUNK = 2000  # images held as float64, or rows of a distance matrix, at once
BLOCK = 1000  # training images that samples are compared with at once: their distances stay in the cache
NEAR = 0.05  # quantile of the real test images' nearest distances below which a sample counts as a copy
SLACK = 1e-4  # relative, of distances by a matrix product; float32 errs by less than a tenth of it
CROWDED = 0.01  # share of pairs near in components from which a product of all pixels costs less than each pair's


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


def apart(images: Tensor, others: Tensor) -> Tensor:
    """Euclidean distance (N,) of each row of float32 pixels (N, P) to the same row of the others, in float64."""
    return (images.double() - others.double()).square().sum(dim=1).sqrt()


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
        found.append(apart(rows, reference[index]))
    return torch.cat(found).cpu().numpy()


def copy_distance(train: np.ndarray, test: np.ndarray, device: torch.device | str = "cpu") -> float:
    """Distance that all but ``NEAR`` of the test images (T, H, W) keep from every training image (N, H, W), both uint8.

    It takes every distance between the two splits, so the reference stage finds it once for all others.
    """
    return float(np.quantile(nearest(test, pixels(train, device, torch.float32)), NEAR))


def possible(images: Tensor, others: Tensor, threshold: float) -> Tensor:
    """Which pairs may be nearer than the threshold, (M, N) bool: all that are, and few that are not.

    Args:
        images: float32 rows (N, P).
        others: float32 rows (M, P).
        threshold: the distance.
    """
    own, squares = (rows.square().sum(dim=1) for rows in (images, others))
    # The distances below lack the image's own square, so their limit does too. They err with the squares that they
    # are the difference of, and pixels, which are float32 too, by what does not shrink with the coordinates.
    limit = (threshold + SLACK) ** 2 + SLACK * (own + squares.max()) - own
    return torch.addmm(squares[:, None], others, images.T, alpha=-2) < limit


def nearer(
    images: np.ndarray, others: np.ndarray, pairs: np.ndarray, threshold: float, device: torch.device | str
) -> np.ndarray:
    """Which images are nearer than the threshold to one of the others that they are paired with, (N,) bool.

    Args:
        images: uint8 (N, H, W).
        others: uint8 (M, H, W).
        pairs: indices of one of the others and of an image, (K, 2).
        threshold: the distance.
        device: where to compute.
    """
    found = np.zeros(len(images), bool)
    for start in range(0, len(pairs), CHUNK):
        some = pairs[start : start + CHUNK]
        other, index = some[~found[some[:, 1]]].T  # one near image is enough
        left, right = (pixels(rows, device, torch.float32) for rows in (images[index], others[other]))
        found[index[(apart(left, right) < threshold).cpu().numpy()]] = True
    return found


class Memorisation:
    """Share of images nearer to a training image than all but ``NEAR`` of the real test images are.

    Real images score about ``NEAR`` by construction: some people write alike.

    No projection lengthens a distance. So only pairs that are near in principal components need their distance, and
    that leaves a few pairs a sample. Images that the components do not tell apart, like noise, leave many; a float32
    product of their pixels then sorts out most.

    Args:
        train: training images, uint8 (N, H, W).
        threshold: distance below which an image counts as a copy, as of ``copy_distance``.
        pca: principal components, of any images.
        coordinates: of the training images in them, (N, C).
    """

    def __init__(self, train: np.ndarray, threshold: float, pca: PCA, coordinates: Tensor):
        self.train, self.threshold, self.pca = train, threshold, pca
        self.coordinates = coordinates.float()

    def __call__(self, images: np.ndarray) -> float:
        """The share for uint8 images (N, H, W).

        Raises:
            ValueError: no images.
        """
        if len(images) == 0:
            raise ValueError("no images")
        return sum(self._copies(images[i : i + CHUNK]) for i in range(0, len(images), CHUNK)) / len(images)

    def _copies(self, images: np.ndarray) -> int:
        """How many of at most ``CHUNK`` images (N, H, W) are copies."""
        coordinates, device = self.pca(images).float(), self.coordinates.device
        left = np.arange(len(images))  # not known to be copies
        for first in range(0, len(self.train), BLOCK):
            part, rows = slice(first, first + BLOCK), torch.from_numpy(left).to(device)
            near = possible(coordinates[rows], self.coordinates[part], self.threshold)  # (part, rows)
            if near.sum() > CROWDED * near.numel():
                left_pixels, others = (pixels(some, device, torch.float32) for some in (images[left], self.train[part]))
                near &= possible(left_pixels, others, self.threshold)
            pairs = near.nonzero().cpu().numpy()
            left = left[~nearer(images[left], self.train[part], pairs, self.threshold, device)]
        return len(images) - len(left)


class Copying:
    """Share of images that copy training images, beyond what lies as near to unseen images.

    Blurred and common shapes lie near to many images. So the share that is nearer than the threshold to training images
    is held against the share that is as near to as many unseen ones: about 0 for unseen images, 1 for exact copies, and
    below 0 by chance.

    Args:
        train: training images, uint8 (N, H, W).
        unseen: images that no network was trained on, uint8 (U, H, W).
        threshold: distance below which an image counts as near.
        pca: principal components, of any images.
        coordinates: of the training images in them, (N, C).
    """

    def __init__(self, train: np.ndarray, unseen: np.ndarray, threshold: float, pca: PCA, coordinates: Tensor):
        size = min(len(train), len(unseen))
        starts = range(0, len(train) - size + 1, size)
        self.blocks = [Memorisation(train[i : i + size], threshold, pca, coordinates[i : i + size]) for i in starts]
        self.unseen = Memorisation(unseen[:size], threshold, pca, pca(unseen[:size]))
        self.times = len(train) / size  # as many training images as unseen ones

    def __call__(self, images: np.ndarray) -> float:
        """The share for uint8 images (N, H, W).

        Raises:
            ValueError: no images.
        """
        near = sum(block(images) for block in self.blocks) / len(self.blocks)
        return self.times * (near - self.unseen(images))


def family(real: Real):
    """Frechet distance in principal components of the training pixels, the share of near copies, and of true ones."""
    device = real.features.device
    pca = PCA(real.images, device)
    coordinates = pca(real.images)
    distance = Frechet(coordinates)
    near = copy_distance(real.images, real.test_images, device) if real.near is None else real.near
    copies = Memorisation(real.images, near, pca, coordinates)
    unseen = real.test_images if real.unseen is None else real.unseen
    copied = Copying(real.images, unseen, near, pca, coordinates)

    def score(samples: Samples) -> dict[str, float]:
        images = samples.images
        return {"pca_fid": distance(pca(images)), "memorisation": copies(images), "copied": copied(images)}

    return score
