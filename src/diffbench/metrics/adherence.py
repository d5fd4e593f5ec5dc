"""Whether a sample shows what its prompt asked for."""

import numpy as np
import torch
from torch import Tensor

from ..data import prompts
from .sets import Real, Samples


def digit_error(logits: Tensor, prompt: Tensor) -> float:
    """Share of samples whose most likely class, logits (N, 10), is not the digit of their prompt (N, 3)."""
    return float((logits.argmax(dim=1) != prompt[:, 0]).double().mean())


def word_errors(images: np.ndarray, prompt: np.ndarray, bounds: np.ndarray) -> tuple[float, float]:
    """Shares of images (N, H, W) uint8 whose measured weight, and slant, is not the word of their prompt (N, 3).

    Both are measured with the bounds (2, 10, 2) of the digit asked for, as the training captions were.
    """
    shown = prompts.caption(images, prompt[:, 0], bounds)
    return float((shown[:, 1] != prompt[:, 1]).mean()), float((shown[:, 2] != prompt[:, 2]).mean())


def family(real: Real):
    """Errors against what was asked for; nothing where nothing was."""

    def score(samples: Samples) -> dict[str, float]:
        if samples.prompt is None:
            return {}
        weight, slant = word_errors(samples.images, samples.prompt, real.bounds)
        digit = digit_error(samples.logits.cpu(), torch.from_numpy(samples.prompt))
        return {"digit_error": digit, "weight_error": weight, "slant_error": slant}

    return score
