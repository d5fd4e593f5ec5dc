"""The reference stage: features of the real images, and what real test images would score."""

import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffbench import rng
from diffbench.config.models import Params
from diffbench.data import prompts, splits
from diffbench.device import prepare
from diffbench.errors import UserError
from diffbench.evaluation import classifier as judge
from diffbench.evaluation.metrics import measure
from diffbench.evaluation.metrics.frechet import Frechet, by_torchmetrics
from diffbench.evaluation.metrics.pixel import copy_distance
from diffbench.evaluation.metrics.sets import Real, Samples
from diffbench.evaluation.scoring import panel_of
from diffbench.runtime.files import replacing, write_json
from diffbench.runtime.places import Places


def subset(labels: np.ndarray, count: int, purpose: str) -> np.ndarray:
    """Sorted indices of ``count`` rows with the class shares of ``labels`` (N,), or of all if there are fewer."""
    if count >= len(labels):
        return np.arange(len(labels))
    generator = np.random.default_rng(rng.seed_of("subset", purpose))
    digits, totals = np.unique(labels, return_counts=True)
    shares = prompts.largest_remainder(totals, count)
    chosen = [
        generator.choice(np.flatnonzero(labels == digit), share, replace=False)
        for digit, share in zip(digits, shares, strict=True)
    ]
    return np.sort(np.concatenate(chosen))


DRAWS = 100  # sets of training images drawn at random: their mean FID is then known to a tenth of their spread


def random_draws(features: Tensor, count: int, draws: int = DRAWS) -> Iterator[Tensor]:
    """Sets of ``count`` rows of features (N, F), drawn at random with replacement.

    What a perfect unconditional model could give: nobody asks it for digits, so its class counts are random, and for
    few images that alone costs more than the floor of images that were asked for.
    """
    for draw in range(draws):
        index = torch.randint(len(features), (count,), generator=rng.generator("floor", draw))
        yield features[index.to(features.device)]


def at_as_many(scores: dict[str, Any], images: int, wanted: int) -> dict[str, Any]:
    """Scores of real images with FID as of as many images as samples have, where there are fewer of them.

    FID of N images is above that of infinitely many by about c/N, whatever it is measured against
    (``frechet.to_infinity``). What is left out of that line stays that of fewer images.
    """
    if images >= wanted or scores.get("fid_infinity") is None:
        return scores
    less = (scores["fid"] - scores["fid_infinity"]) * (1 - images / wanted)
    names = [name for name in ("fid", "fid_held_out") if scores.get(name) is not None]
    return scores | {name: max(0.0, scores[name] - less) for name in names}


def run(params: Params) -> None:
    """Write reference.npz (features of each split, and how near a copy is) and reference.json (the floors).

    Raises:
        UserError: no such device, or an input is missing or damaged.
    """
    device, places = prepare(params.compute), Places(params.name)
    dataset = splits.load(places.data)
    network = judge.load(places.classifier, params.classifier, dataset.side, device)
    features, logits = {}, {}
    for name in splits.SPLITS:
        images = splits.to_float(getattr(dataset, name).images, device)
        features[name], logits[name] = judge.apply(network, images)
    others = judge.load_others(places.other_classifiers, params.classifier, dataset.side, device)
    by_others = [judge.apply(other, splits.to_float(dataset.train.images, device))[0] for other in others]
    # Neighbourhoods depend on the number of points, so real and generated sets get the same.
    manifold_rows = subset(dataset.train.labels, params.sampling.images, "manifold")
    test_rows = subset(dataset.test.labels, params.sampling.images, "floor")
    neighbourhood = features["train"][torch.from_numpy(manifold_rows).to(device)]
    near = copy_distance(dataset.train.images, dataset.test.images, device)
    real = Real(
        features["train"], neighbourhood, params.evaluation.neighbours, dataset.bounds, dataset.train.images,
        dataset.train.labels, dataset.test.images, near, features["validation"],
        dataset.withheld if dataset.withheld.any() else None, unseen=dataset.validation.images,
    )  # fmt: skip
    rows = torch.from_numpy(test_rows).to(device)
    test = Samples(
        dataset.test.images[test_rows], features["test"][rows], logits["test"][rows], dataset.test.prompts[test_rows]
    )
    distance = Frechet(features["train"])
    drawn = [distance(some) for some in random_draws(features["train"], params.sampling.images)]
    scores, wanted = measure(real)(test), params.sampling.images
    floors = [
        {"split": "test", "images": len(test_rows)} | at_as_many(scores, len(test_rows), wanted),
        {
            "split": "train, drawn at random",
            "images": params.sampling.images,
            "fid": float(np.mean(drawn)),
            "fid_high": float(np.quantile(drawn, 0.95)),
        },
    ]
    with replacing(places.reference) as temporary:
        arrays = {name: value.cpu().numpy() for name, value in features.items()}
        arrays |= {f"train_{index}": value.cpu().numpy() for index, value in enumerate(by_others, start=1)}
        np.savez_compressed(temporary, **arrays, manifold_rows=manifold_rows, near=near)
    theirs = by_torchmetrics(features["train"], test.features)
    # Its eigenvalues of an unsymmetric, rank-deficient product are off by rounding that grows with the features' scale:
    # by 4e-6 of the distance where more than half of 128 features are dead.
    scale = float(features["train"].double().var(dim=0).sum())
    if not math.isclose(scores["fid"], theirs, rel_tol=1e-4, abs_tol=1e-6 * scale):
        raise UserError(
            f"FID of the test images: {scores['fid']!r} here, {theirs!r} by torchmetrics; "
            "one of the two libraries is broken, so nothing is scored"
        )
    ask = panel_of(others, by_others, torch.from_numpy(manifold_rows).to(device), real)
    write_json(
        places.floors,
        {
            "floors": floors,
            "judges": [at_as_many(one, len(test_rows), wanted) for one in ask(test.images, test.prompt)],
            "torchmetrics_fid": theirs,
            **asdict(params.evaluation),
        },
    )
