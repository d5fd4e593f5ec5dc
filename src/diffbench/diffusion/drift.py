"""The field that draws generated samples to the data and pushes them apart (arXiv:2602.04770).

It vanishes where both distributions are one, because attraction and repulsion then cancel.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

TEMPERATURES = (0.02, 0.05, 0.2)  # of the kernel exp(-distance / temperature), in mean distances (appendix A.6)
APART = (1.0, 0.1, 0.1)  # mean distances that two prompts are apart for each word that differs: digit, weight, slant


def distances(x: Tensor, y: Tensor) -> Tensor:
    """Euclidean distances of vectors (B, D) and (N, D), (B, N)."""
    squared = x.square().sum(1)[:, None] + y.square().sum(1) - 2 * x @ y.T
    return squared.clamp(min=1e-8).sqrt()


def words_apart(prompt: Tensor, other: Tensor) -> Tensor:
    """How far prompts (B, 3) and (N, 3) are from each other, (B, N), in mean distances of images.

    The paper drifts each class by itself. A prompt has words beside the digit, and each combination of them is rare. So
    the kernel is one of image and prompt together: other words lessen what a sample counts. The field of such a kernel
    vanishes where the joint distributions are one.
    """
    differs = (prompt[:, None] != other[None]).unbind(2)  # (B, N) each
    # Numbers, not a tensor of them: a recorded step may copy nothing to the device.
    return torch.stack([apart * one for apart, one in zip(APART, differs, strict=True)]).sum(0)


def affinities(to_data: Tensor, to_samples: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """The kernel between samples and data (B, N), and among samples (B, B), normalised both ways (algorithm 2).

    The geometric mean of a softmax over what a sample sees and one over the samples that see it. A sample does not see
    itself.

    Args:
        to_data, to_samples: distances, (B, N) and (B, B).
    """
    itself = torch.eye(len(to_samples), dtype=torch.bool, device=to_samples.device)
    logits = -torch.cat([to_data, to_samples.masked_fill(itself, 1e4)], dim=1) / temperature
    both = (logits.softmax(dim=1) * logits.softmax(dim=0)).sqrt()
    return both[:, : to_data.shape[1]], both[:, to_data.shape[1] :]


def field(
    samples: Tensor, data: Tensor, to_data: Tensor, to_samples: Tensor, temperatures: Sequence[float] = TEMPERATURES
) -> Tensor:
    """Where each sample drifts, (B, D): the sum over temperatures, each of them scaled to a root mean square of 1.

    ``V(x) = sum_ij A+_i A-_j (y+_i - y-_j)`` over data y+ and samples y- (eq. 11 and algorithm 2).

    Args:
        samples, data: vectors, (B, D) and (N, D).
        to_data, to_samples: the samples' distances, (B, N) and (B, B).
    """
    total = torch.zeros_like(samples)
    for temperature in temperatures:
        attracts, repels = affinities(to_data, to_samples, temperature)
        drift = (attracts * repels.sum(1, keepdim=True)) @ data - (repels * attracts.sum(1, keepdim=True)) @ samples
        total += drift / drift.square().mean().sqrt().clamp(min=1e-6)
    return total


def drifted(samples: Tensor, data: Tensor, prompt: Tensor | None, others: Tensor | None) -> tuple[Tensor, Tensor]:
    """The unit of length, (), and where samples (B, D) should be, (B, D) in that unit; both without gradient.

    The unit makes the mean distance of a sample to data and samples sqrt(D), so that temperatures need not know the
    data (appendix A.6).

    Args:
        prompt: the samples' prompts (B, 3), or None.
        others: the data's (N, 3), or None.
    """
    to_data, to_samples = distances(samples, data), distances(samples, samples)
    mean = torch.cat([to_data, to_samples], dim=1).mean()
    to_data, to_samples = to_data / mean, to_samples / mean
    if prompt is not None and others is not None:
        to_data, to_samples = to_data + words_apart(prompt, others), to_samples + words_apart(prompt, prompt)
    unit = mean / samples.shape[1] ** 0.5
    return unit, samples / unit + field(samples / unit, data / unit, to_data, to_samples)
