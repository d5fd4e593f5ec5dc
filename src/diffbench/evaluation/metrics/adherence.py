"""Whether a sample shows what its prompt asked for."""

from typing import NamedTuple

import numpy as np
from torch import Tensor

from diffbench.data import prompts
from diffbench.evaluation.metrics.sets import Real, Samples


class Errors(NamedTuple):
    """Shares of samples whose digit, weight or slant, or any of the three, is not as asked."""

    digit_error: float
    weight_error: float
    slant_error: float
    joint_error: float


def errors(images: np.ndarray, logits: Tensor, prompt: np.ndarray, bounds: np.ndarray) -> Errors:
    """Errors of images (N, H, W) uint8 with logits (N, 10) against their prompts (N, 3).

    The digit shown is the most likely class. Weight and slant are measured with the bounds (2, 10, 2) of the digit
    asked for, as the training captions were: a wrong digit may still have the right ones.
    """
    shown = prompts.caption(images, prompt[:, 0], bounds)
    shown[:, 0] = logits.argmax(dim=1).cpu().numpy()
    wrong = shown != prompt  # (N, 3)
    return Errors(*map(float, wrong.mean(axis=0)), joint_error=float(wrong.any(axis=1).mean()))


def family(real: Real):
    """Errors against what was asked for; nothing where nothing was."""

    def score(samples: Samples) -> dict[str, float]:
        if samples.prompt is None:
            return {}
        return errors(samples.images, samples.logits, samples.prompt, real.bounds)._asdict()

    return score
