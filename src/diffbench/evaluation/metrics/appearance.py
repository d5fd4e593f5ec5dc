"""How samples look, without a classifier: values to hold against the real images', not to raise or lower."""

import numpy as np

from diffbench.evaluation.metrics.sets import Real, Samples

CHUNK = 5000  # images held as floats at once


def brightness(images: np.ndarray) -> float:
    """Mean grey of uint8 images (N, H, W), from 0 to 1; ink is bright.

    What a start from pure noise shifts where the schedule's noisiest level still holds signal (arXiv:2305.08891).
    """
    return float(images.mean(dtype=np.float64) / 255)


def contrast(images: np.ndarray) -> float:
    """RMS contrast of uint8 images (N, H, W): standard deviation of the greys of an image, mean over images.

    Peli, "Contrast in complex images", J. Opt. Soc. Am. A 7 (1990); from 0 for an empty image to 1/2.
    """
    spreads = [images[i : i + CHUNK].std(axis=(1, 2), dtype=np.float64) for i in range(0, len(images), CHUNK)]
    return float(np.concatenate(spreads).mean() / 255)


def sharpness(images: np.ndarray) -> float:
    """99th percentile of the gradient's magnitude in an image, mean over images, uint8 (N, H, W).

    The gradient is that of forward differences, in grey scales per pixel: 1 at a hard vertical edge, sqrt(2) at a
    hard corner, which is why binarised images exceed real ones.
    """
    means = []
    for start in range(0, len(images), CHUNK):
        x = images[start : start + CHUNK].astype(np.float32) / 255
        down, right = x[:, 1:, :-1] - x[:, :-1, :-1], x[:, :-1, 1:] - x[:, :-1, :-1]
        magnitude = np.hypot(down, right).reshape(len(x), -1)  # (N, (H - 1)(W - 1))
        means.append(np.quantile(magnitude, 0.99, axis=1))
    return float(np.concatenate(means).mean(dtype=np.float64))


def family(real: Real):
    """Brightness, contrast and sharpness."""

    def score(samples: Samples) -> dict[str, float]:
        images = samples.images
        return {"brightness": brightness(images), "contrast": contrast(images), "sharpness": sharpness(images)}

    return score
