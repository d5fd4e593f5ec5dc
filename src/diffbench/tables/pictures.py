"""Pictures of samples for the report: which samples are shown, and sheets of them as PNG files of 16 greys."""

from pathlib import Path

import numpy as np
from PIL import Image

from diffbench.runtime.files import replacing

GREYS = 16  # grey levels of the pictures; metrics use the raw arrays
COLUMNS = 10  # samples in a strip, one for each digit
STRIPS = 2  # strips of each cell


def sheet(rows: np.ndarray, path: Path) -> None:
    """Write images (R, C, H, W) uint8 as one 16-grey PNG of R rows and C columns; white is the background.

    Raises:
        UserError: the file cannot be written.
    """
    r, c, h, w = rows.shape
    grid = rows.transpose(0, 2, 1, 3).reshape(r * h, c * w)
    grid = np.where(grid < 8, 0, grid)  # an invisible haze would double the file
    image = Image.fromarray(np.round(grid / 255 * (GREYS - 1)).astype(np.uint8), mode="P")
    image.putpalette([255 - round(255 * level / (GREYS - 1)) for level in range(GREYS) for _ in range(3)])
    with replacing(path) as temporary:
        image.save(temporary, format="PNG", bits=4, optimize=True)


def shown_samples(prompt: np.ndarray) -> np.ndarray:
    """Indices of the samples that are shown, (STRIPS * COLUMNS,): in each strip the next prompt of every digit.

    Args:
        prompt: prompts (N, 3) of the list that every row is scored on; where it lacks a digit, the first samples.
    """
    count = STRIPS * COLUMNS
    by_digit = [np.flatnonzero(prompt[:, 0] == digit)[:STRIPS] for digit in range(COLUMNS)]
    return np.stack(by_digit, axis=1).ravel() if all(len(own) == STRIPS for own in by_digit) else np.arange(count)


def strips(images: np.ndarray) -> np.ndarray:
    """Images (N, H, W) as rows of COLUMNS, (N / COLUMNS, COLUMNS, H, W), the last filled up with white."""
    missing = -len(images) % COLUMNS
    filled = np.concatenate([images, np.zeros((missing, *images.shape[1:]), images.dtype)])
    return filled.reshape(-1, COLUMNS, *images.shape[1:])
