"""Whether a sample shows what its prompt asked for."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from diffbench import rng
from diffbench.data import prompts
from diffbench.data.combinations import among
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


def _some(rows: np.ndarray, samples: Samples, bounds: np.ndarray) -> float:
    """The joint error of some of the samples, rows (N,) bool; NaN of none."""
    if not rows.any() or samples.prompt is None:
        return float("nan")
    keep = torch.from_numpy(rows).to(samples.logits.device)
    return errors(samples.images[rows], samples.logits[keep], samples.prompt[rows], bounds).joint_error


def by_chance(samples: Samples, bounds: np.ndarray) -> float:
    """The joint error of samples against each other's prompts: what they would have if nobody had listened.

    The prompts are the same, in another order that is drawn once for each number of samples.
    """
    other = np.random.default_rng(rng.seed_of("shuffled prompts")).permutation(len(samples.images))
    return errors(samples.images, samples.logits, samples.prompt[other], bounds).joint_error


def family(real: Real):
    """Errors against what was asked for; nothing where nothing was.

    Where combinations of words were withheld from training, the joint error of the prompts that hold one, of the
    others, and what the former exceeds the latter by.
    """

    def score(samples: Samples) -> dict[str, float]:
        if samples.prompt is None:
            return {}
        found = errors(samples.images, samples.logits, samples.prompt, real.bounds)._asdict()
        found["joint_error_shuffled"] = by_chance(samples, real.bounds)
        if real.withheld is None:
            return found
        new = among(samples.prompt, real.withheld)
        withheld, seen = (_some(rows, samples, real.bounds) for rows in (new, ~new))
        return found | {"joint_error_withheld": withheld, "joint_error_gap": withheld - seen}

    return score
