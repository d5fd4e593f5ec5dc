"""What a measure sees: the real images, and a set of samples."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor


@dataclass(frozen=True)
class Real:
    """The real images that samples are measured against.

    Attributes:
        features: of the training split, (N, F).
        neighbourhood: of as many of them as there are samples in a cell, (M, F).
        neighbours: k of the nearest-neighbour measures.
        bounds: terciles of weight and slant, (2, 10, 2).
    """

    features: Tensor
    neighbourhood: Tensor
    neighbours: int
    bounds: np.ndarray


@dataclass(frozen=True)
class Samples:
    """Samples of one cell.

    Attributes:
        images: uint8 (N, H, W).
        features: (N, F), of the classifier's penultimate layer.
        logits: (N, 10), of the classifier.
        prompt: what each was asked to show, (N, 3), or None where nothing was asked for.
    """

    images: np.ndarray
    features: Tensor
    logits: Tensor
    prompt: np.ndarray | None
