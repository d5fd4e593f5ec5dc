"""Whether strokes hang together: connected components and holes, class by class, against real digits.

Real digits are not all canonical (many a handwritten 8 has an open loop), so the verdict is the distance to their
distribution and never a count of "correct" shapes.
"""

import numpy as np
from scipy import ndimage

from diffbench.evaluation.metrics.sets import Real, Samples

INK = 128  # grey from which a pixel is foreground: half the scale
MOST = 7  # components, and holes, from which on counts are one: dust
CHUNK = 5000  # images labelled at once
EIGHT = np.stack([np.zeros((3, 3)), np.ones((3, 3)), np.zeros((3, 3))])  # no neighbours in another image
FOUR = EIGHT * ndimage.generate_binary_structure(2, 1)


def _count(masks: np.ndarray, structure: np.ndarray) -> np.ndarray:
    """Connected components of each mask, (N, H, W) bool to (N,)."""
    labels, found = ndimage.label(masks, structure)
    owner = np.zeros(found + 1, dtype=np.int64)
    owner[labels] = np.arange(len(masks))[:, None, None]  # label 0, the rest, belongs to all and is dropped
    return np.bincount(owner[1:], minlength=len(masks))


def components_and_holes(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of components and of holes of uint8 images (N, H, W), each (N,).

    Foreground is 8-connected and background 4-connected, so that a diagonal stroke is one and also separates. A hole
    is a component of the background that does not reach the frame around the image.
    """
    components, holes = [], []
    for start in range(0, len(images), CHUNK):
        ink = np.pad(images[start : start + CHUNK] >= INK, ((0, 0), (1, 1), (1, 1)))
        components.append(_count(ink, EIGHT))
        holes.append(_count(~ink, FOUR) - 1)
    return np.concatenate(components), np.concatenate(holes)


def histogram(images: np.ndarray, digits: np.ndarray) -> np.ndarray:
    """Joint shares of components and holes within each digit, uint8 (N, H, W), (N,) to (10, K).

    A digit that does not occur has a row of zeros.
    """
    kinds = (MOST + 1) ** 2
    components, holes = (np.minimum(count, MOST) for count in components_and_holes(images))
    code = (digits * (MOST + 1) + components) * (MOST + 1) + holes
    counts = np.bincount(code, minlength=10 * kinds).reshape(10, kinds)
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)


class Topology:
    """Total-variation distance of the distribution of (components, holes) to real images', averaged over digits.

    Args:
        images: real images, uint8 (N, H, W).
        labels: their digits, (N,).

    Raises:
        ValueError: no images.
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray):
        if len(images) == 0:
            raise ValueError("no real images")
        self.real = histogram(images, labels)
        self.present = self.real.sum(axis=1) > 0

    def __call__(self, images: np.ndarray, digits: np.ndarray) -> float:
        """The distance, from 0 to 1, of uint8 images (N, H, W) that stand for digits (N,).

        A real digit that no sample stands for counts as 1: nothing of it was matched. Few images of a digit are far
        from any distribution, so compare with as many real ones.

        Raises:
            ValueError: no images.
        """
        if len(images) == 0:
            raise ValueError("no images")
        own = histogram(images, digits)
        distance = np.where(own.sum(axis=1) > 0, np.abs(own - self.real).sum(axis=1) / 2, 1.0)
        return float(distance[self.present].mean())


def family(real: Real):
    """Distance of components and holes to the training split's, by the digit asked for or else the likeliest class."""
    topology = Topology(real.images, real.labels)

    def score(samples: Samples) -> dict[str, float]:
        return {"topology": topology(samples.images, samples.digits)}

    return score
