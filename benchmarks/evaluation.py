"""Evaluation of 10,000 images against torchmetrics' FID and the prdc package.

    python benchmarks/evaluation.py

Both sides give FID against the training split, and precision, recall, density and coverage against as many training
images as there are samples: with the features given, and from the images on. The extractor is our classifier, made-up
images and untrained weights, and is the same for both, so the second row says more about it than about either side;
only the first has a target.

What does not depend on the samples is done once, before the clock starts, wherever a side can: our reference's root and
radii, and torchmetrics' sums of the real features (``reset_real_features=False``). prdc has no way to keep the real
radii and computes them at each call. Both get float32 features; torchmetrics works in float64, as its FID must.

The shapes are the mnist preset's by default, on any device. prdc is NumPy and scikit-learn: on a CUDA device it is
given features that were copied from it, and runs on the CPU. It spreads over every core it may use, so our threads are
the preset's but not more than there are cores; ``--cores 1`` pins both sides to one.
"""

import argparse
import contextlib
import importlib.util
import io
import os
import sys
from collections.abc import Callable

import torch
from common import Ratio, add_arguments, alternate, circumstances, dataset, measured, setting, show, write
from torch import Tensor

from diffbench.config.models import Params
from diffbench.data import splits
from diffbench.data.sources import image_side
from diffbench.evaluation import classifier as judge
from diffbench.evaluation.metrics.frechet import Frechet, GivenFeatures
from diffbench.evaluation.metrics.manifold import Manifold

TARGET = {"cpu": 3.0, "cuda": 10.0}
NAMES = ("evaluation: features given", "evaluation: from images on")
KEYS = ("fid", "precision", "recall", "density", "coverage")
TOLERANCE = 1e-4  # relative difference of two scores that count as one; prdc's distances are of float32 features
TRAIN = 55_000  # training images FID is against

Scores = dict[str, float]


def ours(train: Tensor, neighbourhood: Tensor, k: int) -> Callable[[Tensor], Scores]:
    """Our scores of features (M, F) against those of the training split (N, F) and of a part of it (M, F)."""
    distance, manifold = Frechet(train), Manifold(neighbourhood, k)
    return lambda features: {"fid": distance(features)} | manifold(features)._asdict()


def theirs(train: Tensor, neighbourhood: Tensor, k: int) -> Callable[[Tensor], Scores]:
    """The same scores by torchmetrics and prdc."""
    from prdc import compute_prdc
    from torchmetrics.image.fid import FrechetInceptionDistance

    metric = FrechetInceptionDistance(GivenFeatures(train.shape[1]), reset_real_features=False)
    metric = metric.to(train.device).set_dtype(torch.float64)
    metric.update(train.double(), real=True)
    real = neighbourhood.cpu().numpy()

    def score(features: Tensor) -> Scores:
        metric.reset()
        metric.update(features.double(), real=False)
        with contextlib.redirect_stdout(io.StringIO()):  # it prints how many there are
            found = compute_prdc(real, features.cpu().numpy(), nearest_k=k)
        return {"fid": float(metric.compute())} | {key: float(value) for key, value in found.items()}

    return score


def run(params: Params, where: torch.device, rounds: int, count: int | None = None) -> list[Ratio]:
    """The ratios, after a check that both sides give the same scores.

    Args:
        count: images, by default as many as a cell of the preset has.

    Raises:
        ValueError: the two sides disagree, so that neither time means anything.
    """
    target = TARGET[where.type]
    for package in ("torchmetrics", "prdc"):
        if importlib.util.find_spec(package) is None:
            return [Ratio(name, None, skipped=f"{package} is not installed") for name in NAMES]
    count = count or params.sampling.images
    torch.manual_seed(0)
    network = (
        judge.Classifier(image_side(params), params.classifier.channels, params.classifier.features).to(where).eval()
    )
    images = splits.to_float(dataset(params, count).test.images, where)
    # Features of a trained network: non-negative, correlated, and of the samples a little off the real ones'.
    mixing = torch.randn(params.classifier.features, params.classifier.features, device=where)

    def made_up(rows: int, stretch: float) -> Tensor:
        return stretch * torch.relu(torch.randn(rows, len(mixing), device=where) @ mixing)

    train, fake = made_up(max(count, min(TRAIN, 6 * count)), 1.0), made_up(count, 1.1)
    sides = [side(train, train[:count], params.evaluation.neighbours) for side in (ours, theirs)]
    a, b = (side(fake) for side in sides)
    apart = [key for key in KEYS if abs(a[key] - b[key]) > TOLERANCE * max(abs(b[key]), 1)]
    if apart:
        raise ValueError(f"scores differ: {[(key, a[key], b[key]) for key in apart]}")

    def whole(side: Callable[[Tensor], Scores]) -> Callable[[], Scores]:
        return lambda: side(judge.apply(network, images)[0])

    note = f"{count} images of {image_side(params)} x {image_side(params)}, {len(mixing)} features"
    given = alternate(lambda: sides[0](fake), lambda: sides[1](fake), rounds, where, warm_up=1)
    both = alternate(whole(sides[0]), whole(sides[1]), rounds, where, warm_up=1)
    return [measured(NAMES[0], target, given, note), measured(NAMES[1], None, both, "the same extractor on both sides")]


def threads(params: Params, cores: int | None) -> None:
    """Give our side the preset's threads, at most one a core; ``cores`` pins the process to the first so many."""
    if cores is not None:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    torch.set_num_threads(min(params.compute.threads, len(os.sched_getaffinity(0))))


def main(argv: list[str] | None = None) -> int:
    """Print the table; the exit code is 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, rounds=5)
    parser.add_argument("--images", type=int, help="by default as many as a cell has")
    parser.add_argument("--cores", type=int, help="pin both sides to so many")
    options = parser.parse_args(argv)
    params, where = setting(options.preset or "mnist")
    threads(params, options.cores)
    facts, ratios = circumstances(params, where), run(params, where, options.rounds, options.images)
    show(facts, ratios)
    write(options.json, facts, ratios)
    return int(not all(ratio.holds for ratio in ratios))


if __name__ == "__main__":
    sys.exit(main())
