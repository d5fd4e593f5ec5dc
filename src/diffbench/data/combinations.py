"""Combinations of digit, weight and slant that are withheld from training."""

import numpy as np

from diffbench.data.vocabulary import DIGITS, FIRST_SLANT, FIRST_WEIGHT, SLANTS, WEIGHTS


def latin_square() -> np.ndarray:
    """A third of the combinations of digit, weight and slant, (10, 3, 3) bool: one slant for each digit and weight.

    So every digit, weight and slant, and every pair of a digit with a weight or a slant, occurs among the others too.
    """
    digit, weight, slant = np.indices((len(DIGITS), len(WEIGHTS), len(SLANTS)))
    return (digit + weight + slant) % len(SLANTS) == 0


WITHHELD = {"none": lambda: np.zeros((len(DIGITS), len(WEIGHTS), len(SLANTS)), bool), "latin-square": latin_square}


def among(prompt: np.ndarray, combinations: np.ndarray) -> np.ndarray:
    """Which prompts (N, 3) are among combinations (10, 3, 3) bool, (N,); one with "any" is among none."""
    weight, slant = prompt[:, 1] - FIRST_WEIGHT, prompt[:, 2] - FIRST_SLANT
    plain = (weight >= 0) & (weight < len(WEIGHTS)) & (slant >= 0) & (slant < len(SLANTS))
    found = np.zeros(len(prompt), bool)
    found[plain] = combinations[prompt[plain, 0], weight[plain], slant[plain]]
    return found
