"""Kernel distance between features (KID, arXiv:1801.01401): no Gaussian is fitted, and the estimate is unbiased."""

import torch
from torch import Tensor

from diffbench.evaluation.metrics.sets import Real, Samples

CHUNK = 2000  # rows of a kernel matrix held at once


def _sum(x: Tensor, y: Tensor) -> Tensor:
    """Sum of ``(x . y / F + 1)^3`` over all pairs of rows, (N, F), (M, F)."""
    width = x.shape[1]
    return torch.stack([(rows @ y.T / width + 1).pow(3).sum() for rows in x.split(CHUNK)]).sum()


def _within(x: Tensor) -> Tensor:
    """Mean of the kernel over all pairs of two different rows, (N, F)."""
    own = (x.square().sum(dim=1) / x.shape[1] + 1).pow(3).sum()
    return (_sum(x, x) - own) / (len(x) * (len(x) - 1))


class Kernel:
    """Unbiased squared maximum mean discrepancy to one reference with the cubic kernel (section 4 there).

    Over all pairs rather than random subsets, so that it has one value and not a draw. Features are divided by
    ``sqrt(tr C / F)`` of the reference first: the kernel has a scale, and raw activations of a small classifier make
    its cube all noise. Computed in float64.

    Args:
        reference: features (M, F) of real images.

    Raises:
        ValueError: fewer than two rows, one that is not finite, or all rows are equal.
    """

    def __init__(self, reference: Tensor):
        if len(reference) < 2 or not torch.isfinite(reference).all():
            raise ValueError(f"{len(reference)} real samples; expected at least 2, all finite")
        reference = reference.double()
        self.scale = reference.var(dim=0).mean().sqrt()
        if self.scale == 0:
            raise ValueError("the real features do not vary, so the kernel has no scale")
        self.reference = reference / self.scale
        self.within = _within(self.reference)

    def __call__(self, features: Tensor) -> float:
        """The estimate for features (N, F).

        About 0 for two independent draws of one distribution, and then as often negative. Two sets with the same
        class counts are not independent draws: they are expected below 0, the more so the fewer they are, so compare
        with what as many real test images score.

        Raises:
            ValueError: fewer than two samples, another width, or a feature that is not finite.
        """
        width = self.reference.shape[1]
        if features.dim() != 2 or features.shape[1] != width or len(features) < 2:
            raise ValueError(f"features of shape {tuple(features.shape)}; expected at least 2 of width {width}")
        if not torch.isfinite(features).all():
            raise ValueError("a feature is not finite")
        x = features.double() / self.scale
        across = _sum(x, self.reference) / (len(x) * len(self.reference))
        return float(_within(x) + self.within - 2 * across)


def family(real: Real):
    """KID against as many training images as there are samples."""
    distance = Kernel(real.neighbourhood)

    def score(samples: Samples) -> dict[str, float]:
        return {"kid": distance(samples.features)}

    return score
