"""Exponential moving average of the weights, warmed up."""

import torch
from torch import Tensor


def decay(step: int, limit: float) -> float:
    """``min(limit, (1 + n) / (10 + n))`` after n steps: a fixed 0.999 would keep 37% of the start at step 1,000."""
    return min(limit, (1 + step) / (10 + step))


@torch.no_grad()
def update(average: Tensor, weights: Tensor, share: float | Tensor) -> None:
    """Move the average towards the weights in place by a share, ``1 - decay``; both of one shape."""
    average.lerp_(weights, share)
