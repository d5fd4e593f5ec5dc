"""What every scoring stage shares: the real images that samples are held against."""

import math

import torch

from diffbench.config.models import Params
from diffbench.data import splits
from diffbench.evaluation.metrics.frechet import Frechet
from diffbench.evaluation.metrics.sets import Real
from diffbench.runtime import npz
from diffbench.runtime.places import Places


def finite(value: float | None) -> float | None:
    """A number for JSON; null stands for "does not apply"."""
    return value if value is not None and math.isfinite(value) else None


def reference_sets(params: Params, dataset: splits.Dataset, device: torch.device) -> tuple[Real, Frechet]:
    """What cells are scored against, and the distance to the validation split, which chooses between them.

    Raises:
        UserError: the reference file is missing or damaged.
    """
    arrays = npz.load_arrays(Places(params.name).reference)
    train = torch.from_numpy(arrays["train"]).to(device)
    rows = torch.from_numpy(arrays["manifold_rows"]).to(device)
    real = Real(
        train, train[rows], params.evaluation.neighbours, dataset.bounds, dataset.train.images, dataset.train.labels,
        dataset.test.images, float(arrays["near"]),
    )  # fmt: skip
    return real, Frechet(torch.from_numpy(arrays["validation"]).to(device))
