"""What a data set is to this benchmark."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Source:
    """A data set of grey images in ten classes.

    Attributes:
        title: as people call it.
        side: of its images, in pixels.
        levels: grey levels of its images.
        count: of its images, all splits together.
        classes: a word for each label, as prompts name them.
        licence: whose it is and on what terms.
        load: takes a split seed, for data that come in one piece, and gives train and test images (N, H, W) uint8 and
            labels (N,) int64. It raises UserError where the files are missing or damaged.
    """

    title: str
    side: int
    levels: int
    count: int
    classes: tuple[str, ...]
    licence: str
    load: Callable[[int], Arrays]
