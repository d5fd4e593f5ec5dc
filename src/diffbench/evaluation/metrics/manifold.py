"""Precision, recall, density and coverage by nearest neighbours.

Precision and recall: arXiv:1904.06991, eq. 1 to 3; density and coverage: arXiv:2002.09797, eq. 5 to 8. All four with
the strict inequality and k of the latter's code, so that identical distributions give a coverage of about 1 - 2^-k.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from diffbench.evaluation.metrics.sets import Real, Samples

CHUNK = 250  # rows of a distance matrix held at once: few, so that the passes over them find them in a cache


class PRDC(NamedTuple):
    """Precision, recall and coverage in [0, 1]; density may exceed 1."""

    precision: float
    recall: float
    density: float
    coverage: float


def _radii(features: Tensor, k: int) -> Tensor:
    """Distance of each row (N, F) to its k-th nearest other row, (N,)."""
    # The row itself is the first of the k + 1 nearest. For so few of them topk takes a fifth of kthvalue's time.
    nearest = [
        torch.cdist(rows, features).topk(k + 1, dim=1, largest=False, sorted=False).values
        for rows in features.split(CHUNK)
    ]
    return torch.cat(nearest).amax(dim=1)


class Manifold:
    """Measures against real features (N, F), whose radii are computed once.

    Raises:
        ValueError: not more than k rows.
    """

    def __init__(self, real: Tensor, k: int):
        if len(real) <= k:
            raise ValueError(f"{len(real)} real samples; more than k = {k} needed")
        self.real, self.k = real.double(), k
        self.radii = _radii(self.real, k)

    def __call__(self, fake: Tensor) -> PRDC:
        """The four measures of fake features (M, F).

        Raises:
            ValueError: not more than k rows, or a feature that is not finite.
        """
        if len(fake) <= self.k:
            raise ValueError(f"{len(fake)} samples; more than k = {self.k} needed")
        if not torch.isfinite(fake).all():
            raise ValueError("a feature is not finite")
        fake = fake.double()
        fake_radii = _radii(fake, self.k)
        inside = torch.zeros(len(fake), dtype=torch.int32, device=fake.device)  # real balls each fake lies in, (M,)
        recalled, covered = [], []
        for start in range(0, len(self.real), CHUNK):
            rows = slice(start, start + CHUNK)
            distance = torch.cdist(self.real[rows], fake)  # (rows, M)
            balls = distance < self.radii[rows, None]
            inside += balls.view(torch.uint8).sum(dim=0, dtype=torch.int32)
            recalled.append((distance < fake_radii).any(dim=1))
            covered.append(balls.any(dim=1))
        return PRDC(
            precision=float((inside > 0).double().mean()),
            recall=float(torch.cat(recalled).double().mean()),
            density=float(inside.double().mean() / self.k),
            coverage=float(torch.cat(covered).double().mean()),
        )


def family(real: Real):
    """Precision, recall, density and coverage against as many training images as there are samples."""
    manifold = Manifold(real.neighbourhood, real.neighbours)

    def score(samples: Samples) -> dict[str, float]:
        return manifold(samples.features)._asdict()

    return score
