"""The fixed lists of prompts that images are sampled for."""

import numpy as np

from diffbench import rng
from diffbench.data import prompts, splits


def captions(dataset: splits.Dataset, count: int, purpose: str) -> np.ndarray:
    """The fixed list of prompts (count, 3) of the scored or of the selection images.

    Scored prompts follow the training split, whose statistics the headline FID uses; those that choose the
    guidance scale follow the validation split.
    """
    split = dataset.train if purpose == "scored" else dataset.validation
    generator = np.random.default_rng(rng.seed_of("captions", purpose))
    return prompts.stratified(split.prompts, count, generator)
