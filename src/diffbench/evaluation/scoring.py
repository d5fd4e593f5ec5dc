"""What every scoring stage shares: the real images that samples are held against, and the judges."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffbench.config.models import Params
from diffbench.data import splits
from diffbench.evaluation import classifier as judge
from diffbench.evaluation.metrics import OF_FEATURES, measure
from diffbench.evaluation.metrics.frechet import Frechet
from diffbench.evaluation.metrics.sets import Real, Samples
from diffbench.runtime import npz
from diffbench.runtime.places import Places
from diffbench.tables import schema


def finite(value: float | None) -> float | None:
    """A number for JSON; null stands for "does not apply"."""
    return value if value is not None and math.isfinite(value) else None


Arrays = dict[str, np.ndarray]


def references(params: Params) -> Arrays:
    """What the reference stage left: features of each split (N, F), by the first classifier and by the other judges.

    Raises:
        UserError: the file is missing or damaged.
    """
    return npz.load_arrays(Places(params.name).reference)


def reference_sets(
    params: Params, dataset: splits.Dataset, arrays: Arrays, device: torch.device
) -> tuple[Real, Frechet]:
    """What cells are scored against, and the distance to the validation split, which chooses between them.

    Args:
        arrays: of ``references``.
    """
    train = torch.from_numpy(arrays["train"]).to(device)
    rows = torch.from_numpy(arrays["manifold_rows"]).to(device)
    real = Real(
        train, train[rows], params.evaluation.neighbours, dataset.bounds, dataset.train.images, dataset.train.labels,
        dataset.test.images, float(arrays["near"]), torch.from_numpy(arrays["validation"]).to(device),
        dataset.withheld if dataset.withheld.any() else None,
    )  # fmt: skip
    return real, Frechet(real.held_out)


Panel = Callable[[np.ndarray, np.ndarray | None], list[dict[str, Any]]]


def panel_of(networks: list[judge.Classifier], features: list[Tensor], rows: Tensor, real: Real) -> Panel:
    """Judges as a function of uint8 images (N, H, W) and their prompts (N, 3), or None.

    It gives a row for each judge, numbered from 1: the scores of ``schema.JUDGED`` by its features and classes.

    Args:
        networks: the judges.
        features: of the training split by each, (M, F).
        rows: of the training split that are as many as the samples of a cell, (N,).
        real: the real images as the first classifier sees them.
    """
    scores = [
        measure(replace(real, features=own, neighbourhood=own[rows], held_out=None), OF_FEATURES) for own in features
    ]

    def ask(images: np.ndarray, prompt: np.ndarray | None) -> list[dict[str, Any]]:
        found = []
        for index, (network, score) in enumerate(zip(networks, scores, strict=True), start=1):
            seen = judge.apply(network, splits.to_float(images, rows.device))
            values = score(Samples(images, *seen, prompt))
            found.append({"judge": index} | {name: finite(values.get(name)) for name in schema.JUDGED})
        return found

    return ask


def panel(params: Params, dataset: splits.Dataset, arrays: Arrays, real: Real, device: torch.device) -> Panel:
    """The judges after the first of a run.

    Args:
        arrays: of ``references``.
        real: the real images as the first classifier sees them.

    Raises:
        UserError: the classifiers' file is missing or damaged.
    """
    path = Places(params.name).other_classifiers
    networks = judge.load_others(path, params.classifier, dataset.side, device)
    features = [torch.from_numpy(arrays[f"train_{index + 1}"]).to(device) for index in range(len(networks))]
    return panel_of(networks, features, torch.from_numpy(arrays["manifold_rows"]).to(device), real)
