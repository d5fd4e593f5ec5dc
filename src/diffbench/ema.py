"""Exponential moving average of the weights, warmed up."""

import torch
from torch import Tensor, nn


def decay(step: int, limit: float) -> float:
    """``min(limit, (1 + n) / (10 + n))`` after n steps: a fixed 0.999 would keep 37% of the start at step 1,000."""
    return min(limit, (1 + step) / (10 + step))


class EMA:
    """The averaged weights of a network, in the order of its ``state_dict``."""

    def __init__(self, net: nn.Module, limit: float):
        self.limit = limit
        self.weights = {name: value.detach().clone() for name, value in net.state_dict().items()}

    @torch.no_grad()
    def update(self, weights: list[Tensor], step: int) -> None:
        """Move towards ``weights``, the values of the network's ``state_dict``, after step number ``step``."""
        torch._foreach_lerp_(list(self.weights.values()), weights, 1 - decay(step, self.limit))
