"""Frechet distance between Gaussian fits of features (FID, arXiv:1706.08500), in float64.

Ours because it is asked for hundreds of times against one reference, whose square root is then taken once, and because
importing torchmetrics costs each job three seconds. ``by_torchmetrics`` is the same number from that library; the
reference stage refuses to go on where the two disagree.
"""

import torch
from torch import Tensor, nn

from diffbench.evaluation.metrics.sets import Real, Samples


def moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (F,) and unbiased covariance (F, F) of features (N, F), in float64."""
    features = features.double()
    mean = features.mean(dim=0)
    centred = features - mean
    return mean, centred.T @ centred / (len(features) - 1)


def root(covariance: Tensor) -> Tensor:
    """The symmetric square root of a covariance (F, F); eigenvalues that rounding made negative count as 0."""
    values, vectors = torch.linalg.eigh(covariance)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T


class Frechet:
    """FID of sample features against one reference: ``|m - m'|^2 + tr(C + C' - 2 (C' C)^1/2)``.

    The trace of the last term is the sum of the square roots of the eigenvalues of ``C'^1/2 C C'^1/2``, which is
    symmetric. The features are our classifier's: the values are not comparable with Inception FID.

    Args:
        reference: features (N, F) of real images.
    """

    def __init__(self, reference: Tensor):
        self.mean, covariance = moments(reference)
        self.root, self.trace = root(covariance), float(covariance.trace())

    def __call__(self, features: Tensor) -> float:
        """The distance of features (N, F), at least 0; rounding makes identical rank-deficient sets negative.

        Raises:
            ValueError: fewer than two samples, another width, or a feature that is not finite.
        """
        width = len(self.mean)
        if features.dim() != 2 or features.shape[1] != width or len(features) < 2:
            raise ValueError(f"features of shape {tuple(features.shape)}; expected at least 2 of width {width}")
        if not torch.isfinite(features).all():
            raise ValueError("a feature is not finite")
        mean, covariance = moments(features)
        cross = torch.linalg.eigvalsh(self.root @ covariance @ self.root).clamp(min=0).sqrt().sum()
        return max(0.0, float((mean - self.mean).square().sum() + covariance.trace() + self.trace - 2 * cross))


class GivenFeatures(nn.Module):
    """torchmetrics' feature extractor where the features are already computed."""

    def __init__(self, width: int):
        super().__init__()
        self.num_features = width

    def forward(self, features: Tensor) -> Tensor:
        return features


def by_torchmetrics(reference: Tensor, features: Tensor) -> float:
    """The same distance by torchmetrics' own implementation, of features (N, F) and (M, F)."""
    from torchmetrics.image.fid import FrechetInceptionDistance

    metric = FrechetInceptionDistance(GivenFeatures(reference.shape[1])).to(reference.device).set_dtype(torch.float64)
    metric.update(reference.double(), real=True)
    metric.update(features.double(), real=False)
    return max(0.0, float(metric.compute()))


def family(real: Real):
    """FID against the training split."""
    distance = Frechet(real.features)

    def score(samples: Samples) -> dict[str, float]:
        return {"fid": distance(samples.features)}

    return score
