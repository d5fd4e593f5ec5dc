"""Prompts of three words, "bold left-slanted 7": digit, weight and slant.

Weight and slant are measured, not judged: terciles, within each digit, of soft ink and of its moment slant on the
training split. So two of three words can be scored without a learned judge, and a word means the same for every
network. Words are relative to the digit: a bold 1 has less ink than a light 8.
"""

from collections.abc import Callable, Sequence

import numpy as np

from diffbench.data.vocabulary import DIGITS, FIRST_SLANT, FIRST_WEIGHT, VOCABULARY

CHUNK = 5000  # images held as floats at once: of MNIST's 55,000 slant took 2 GB


def soft_ink(images: np.ndarray) -> np.ndarray:
    """Ink that ignores background haze, ``clip((x - 0.25) / 0.5, 0, 1)`` of uint8 images, same shape, float32."""
    return np.clip((images.astype(np.float32) / 255 - 0.25) / 0.5, 0, 1)


def in_chunks(measure: Callable[[np.ndarray], np.ndarray], images: np.ndarray) -> np.ndarray:
    """A measure of each image, (N, H, W) to (N,), of few images at once."""
    return np.concatenate([measure(images[i : i + CHUNK]) for i in range(0, max(len(images), 1), CHUNK)])


def weight(images: np.ndarray) -> np.ndarray:
    """Total soft ink in pixels, (N, H, W) uint8 to (N,)."""
    return in_chunks(lambda some: soft_ink(some).sum(axis=(1, 2)), images)


def slant(images: np.ndarray) -> np.ndarray:
    """Moment slant of the soft ink, (N, H, W) uint8 to (N,): pixels to the right per pixel upwards.

    ``-mu_11 / mu_02`` about the centre of mass; 0 where there is no ink or it lies in one row.
    """
    return in_chunks(_slant, images)


def _slant(images: np.ndarray) -> np.ndarray:
    ink = soft_ink(images).astype(np.float64)
    y, x = np.indices(images.shape[1:], dtype=np.float64)
    mass = ink.sum(axis=(1, 2))
    safe = np.where(mass > 0, mass, 1)
    dx = x - ((ink * x).sum(axis=(1, 2)) / safe)[:, None, None]
    dy = y - ((ink * y).sum(axis=(1, 2)) / safe)[:, None, None]
    mu11, mu02 = (ink * dx * dy).sum(axis=(1, 2)), (ink * dy * dy).sum(axis=(1, 2))
    return np.where(mu02 > 1e-9, -mu11 / np.where(mu02 > 1e-9, mu02, 1), 0.0)


def terciles(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The two inner tercile bounds of ``values`` within each digit, (N,), (N,) to (10, 2).

    Raises:
        ValueError: a digit does not occur.
    """
    missing = sorted(set(range(10)) - set(np.unique(labels).tolist()))
    if missing:
        raise ValueError(f"no training image of digit {missing[0]}")
    return np.stack([np.quantile(values[labels == digit], [1 / 3, 2 / 3]) for digit in range(10)])


def caption(images: np.ndarray, labels: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """The prompts of images, (N, H, W), (N,), bounds (2, 10, 2) of weight and slant, to (N, 3) int64."""
    words = [
        (values[:, None] > bound[labels]).sum(axis=1)
        for values, bound in zip((weight(images), slant(images)), bounds, strict=True)
    ]
    return np.stack([labels, FIRST_WEIGHT + words[0], FIRST_SLANT + words[1]], axis=1).astype(np.int64)


def largest_remainder(counts: np.ndarray, total: int) -> np.ndarray:
    """Integers that sum to ``total`` in the proportions of ``counts``."""
    exact = counts * total / counts.sum()
    shares = np.floor(exact).astype(np.int64)
    order = np.argsort(-(exact - shares), kind="stable")
    shares[order[: total - shares.sum()]] += 1
    return shares


def stratified(captions: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """A shuffled list of ``count`` prompts in the proportions of ``captions``, (N, 3) to (count, 3).

    Digits first and then the weights and slants within a digit, so that class counts match the reference's: FID
    against drawn labels costs more than the real-data floor.
    """
    digits, totals = np.unique(captions[:, 0], return_counts=True)
    chosen = []
    for digit, share in zip(digits, largest_remainder(totals, count), strict=True):
        kinds, frequency = np.unique(captions[captions[:, 0] == digit], axis=0, return_counts=True)
        chosen.append(np.repeat(kinds, largest_remainder(frequency, share), axis=0))
    return generator.permutation(np.concatenate(chosen))


def text(prompt: np.ndarray, classes: Sequence[str] = DIGITS) -> str:
    """A prompt (3,) in words, "bold left-slanted 7"."""
    return f"{VOCABULARY[prompt[1]]} {VOCABULARY[prompt[2]]} {classes[prompt[0]]}"
