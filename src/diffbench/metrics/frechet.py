"""Frechet distance between Gaussian fits of features (FID, arXiv:1706.08500), through torchmetrics."""

import torch
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance


class _Features(nn.Module):
    """torchmetrics' feature extractor where the features are already computed."""

    def __init__(self, width: int):
        super().__init__()
        self.num_features = width

    def forward(self, features: Tensor) -> Tensor:
        return features


class Frechet:
    """FID of sample features against one reference, whose sums are kept between calls.

    The features are our classifier's: the values are not comparable with Inception FID.

    Args:
        reference: features (N, F) of real images.
    """

    def __init__(self, reference: Tensor):
        self.width = reference.shape[1]
        self.metric = FrechetInceptionDistance(_Features(self.width), reset_real_features=False)
        self.metric = self.metric.to(reference.device).set_dtype(torch.float64)
        self.metric.update(reference.double(), real=True)

    def __call__(self, features: Tensor) -> float:
        """The distance of features (N, F), at least 0; rounding makes identical rank-deficient sets negative.

        Raises:
            ValueError: fewer than two samples, another width, or a feature that is not finite.
        """
        if features.dim() != 2 or features.shape[1] != self.width or len(features) < 2:
            raise ValueError(f"features of shape {tuple(features.shape)}; expected at least 2 of width {self.width}")
        if not torch.isfinite(features).all():
            raise ValueError("a feature is not finite")
        self.metric.reset()
        self.metric.update(features.double(), real=False)
        return max(0.0, float(self.metric.compute()))
