"""A training step as a CUDA graph."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from diffbench.diffusion.objective import Batch


class Recorded:
    """A function that trains on one batch, recorded once as a CUDA graph and replayed on each batch.

    A step is a thousand kernels of a few microseconds: launched one by one they keep a GPU waiting for the interpreter
    two thirds of the time. Recording trains on one batch a few times and then puts everything back as it was.

    Args:
        update: takes a batch, a learning rate () and the share of new weights in their average (), and gives the loss.
        batch: in the shapes of every batch.
        state: all that ``update`` changes.
    """

    def __init__(self, update: Callable[..., Tensor], batch: Batch, state: Sequence[Tensor]):
        device = state[0].device
        before = [tensor.detach().clone() for tensor in state]
        self.batch = batch
        self.lr, self.share = torch.zeros((), device=device), torch.zeros((), device=device)
        stream = torch.cuda.Stream(device)
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):  # whatever a first call sets up or compiles cannot be recorded
            for _ in range(3):
                update(self.batch, self.lr, self.share)
        torch.cuda.current_stream(device).wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.loss = update(self.batch, self.lr, self.share)
        with torch.no_grad():
            for tensor, value in zip(state, before, strict=True):
                tensor.copy_(value)

    def __call__(self, batch: Batch, lr: float, share: float) -> Tensor:
        """As ``update``; the loss is overwritten by the next call."""
        for place, value in zip(self.batch, batch, strict=True):
            if place is not None and value is not None:
                place.copy_(value)
        self.lr.fill_(lr)
        self.share.fill_(share)
        self.graph.replay()
        return self.loss
