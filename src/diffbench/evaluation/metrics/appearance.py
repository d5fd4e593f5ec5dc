"""How samples look, without a classifier: values to hold against the real images', not to raise or lower."""

import math

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


def detail(images: np.ndarray) -> float:
    """Share of the power of uint8 images (N, H, W) above half the Nyquist frequency, from 0 to 1.

    By the discrete Fourier transform, without the image's mean; frequencies are radial. Blur lowers it, noise and hard
    edges raise it; 0 of empty images.
    """
    side = images.shape[1:]
    radius = np.hypot(*np.meshgrid(*map(np.fft.fftfreq, side), indexing="ij"))  # (H, W), Nyquist is 1/2
    fine, whole = 0.0, 0.0
    for start in range(0, len(images), CHUNK):
        x = images[start : start + CHUNK].astype(np.float32) / 255
        power = np.abs(np.fft.fft2(x - x.mean(axis=(1, 2), keepdims=True))) ** 2  # (N, H, W)
        fine, whole = fine + float(power[:, radius > 0.25].sum()), whole + float(power.sum())
    return fine / whole if whole > 0 else 0.0


def halves(images: np.ndarray, digits: np.ndarray) -> float:
    """Correlation of the ink in the upper and in the lower half of uint8 images (N, H, W) within digits (N,).

    A thick stroke is thick all over: how far one half of an image knows the other. 0 where ink is constant.
    """
    middle = images.shape[1] // 2
    upper, lower = (part.mean(axis=(1, 2), dtype=np.float64) for part in (images[:, :middle], images[:, middle:]))
    for digit in np.unique(digits):
        own = digits == digit
        upper[own] -= upper[own].mean()
        lower[own] -= lower[own].mean()
    spread = math.sqrt(float(upper @ upper) * float(lower @ lower))
    return float(upper @ lower) / spread if spread > 0 else 0.0


def family(real: Real):
    """Brightness, contrast, sharpness, detail, and how the halves agree."""

    def score(samples: Samples) -> dict[str, float]:
        images = samples.images
        return {
            "brightness": brightness(images),
            "contrast": contrast(images),
            "sharpness": sharpness(images),
            "detail": detail(images),
            "halves": halves(images, samples.digits),
        }

    return score
