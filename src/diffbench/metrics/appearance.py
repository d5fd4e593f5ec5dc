"""How samples look, without a classifier."""

import numpy as np

from .sets import Real, Samples


def brightness(images: np.ndarray) -> float:
    """Mean grey of uint8 images (N, H, W), from 0 to 1; ink is bright.

    What a start from pure noise shifts where the schedule's noisiest level still holds signal (arXiv:2305.08891).
    """
    return float(images.mean(dtype=np.float64) / 255)


def family(real: Real):
    """Brightness."""

    def score(samples: Samples) -> dict[str, float]:
        return {"brightness": brightness(samples.images)}

    return score
