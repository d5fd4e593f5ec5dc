"""What a job asks a cluster's scheduler for: memory and minutes, from the params alone.

Bounds, not forecasts: a scheduler ends what goes beyond them. They lie at two to seven times what the reference run of
MNIST on two cores took, and a job that was ended gets twice as much at its next attempt; a training then goes on from
its checkpoint. Nothing here decides a number, and on one machine nothing is limited by it.
"""

import math
from collections.abc import Callable

from diffbench import design
from diffbench.config.models import Params
from diffbench.data.sources import SOURCES

START = 3  # minutes, for importing torch from a network's file system and for writing
SECONDS = {"cpu": 2.5e-3, "cuda": 5e-5}  # one network evaluation of one image of 28 x 28 pixels
MNIST_PIXELS = 28 * 28
LIBRARIES = {"cpu": 3000, "cuda": 7000}  # MB: torch in the stage and in the Snakemakes that call one another around it
COPIES = 16  # bytes a pixel of the whole data set: as read, as float, and parts of it
ACTIVATIONS = 3200  # bytes a pixel of a batch that is sampled on a CPU


def _train(params: Params) -> float:
    return 3 * params.training.images  # forward once, backward twice


def _sample(params: Params, paradigm: str, seed: str, steps: str) -> float:
    drawn = [(cell, params.sampling.images) for cell in design.cells(params, paradigm, int(seed), steps)]
    drawn += [(cell, params.sampling.selection_images) for cell in design.selecting(params, paradigm, int(seed), steps)]
    return sum(2 * cell.steps * images for cell, images in drawn)  # guidance and Heun each take two


def _evaluate(params: Params, paradigm: str, seed: str) -> float:
    cells = len(design.all_cells(params, paradigm, int(seed))) + len(design.showcase(params, paradigm, int(seed)))
    return cells * params.sampling.images


def _convergence(params: Params) -> float:
    return (len(params.training.snapshots) + 1) * 2 * params.convergence.steps * params.sampling.images


def _probe(params: Params) -> float:
    return params.probe.images * (2 * params.probe.steps + params.probe.bins + len(params.probe.log_snr))


def _tune(params: Params) -> float:
    one = 3 * params.tune.images + 2 * params.tune.steps * params.sampling.selection_images
    return len(params.tune.lrs) * len(params.tune.seeds) * one


def _count(params: Params) -> int:
    return SOURCES[params.data.source].count


EVALUATIONS: dict[str, Callable[..., float]] = {
    "classifier": lambda params: 3 * params.classifier.epochs * _count(params),
    "reference": _count,
    "train": lambda params, paradigm, seed: _train(params),
    "sample": _sample,
    "evaluate": _evaluate,
    "convergence": lambda params, paradigm, seed: _convergence(params),
    "probe": lambda params, paradigm, seed: _probe(params),
    "tune": lambda params, paradigm: _tune(params),
}
ON_CPU = {"reference", "evaluate"}  # most of their scores are made there, whatever the device


def _pixels(params: Params) -> int:
    return SOURCES[params.data.source].side ** 2


def minutes(params: Params, stage: str, cuda: bool, attempt: int = 1, **wildcards: str) -> int:
    """Minutes a job of a stage may take; ``wildcards`` are those of its rule but the run."""
    price = SECONDS["cuda" if cuda and stage not in ON_CPU else "cpu"] * _pixels(params) / MNIST_PIXELS
    seconds = EVALUATIONS[stage](params, **wildcards) * price
    return (START + math.ceil(seconds / 60)) * 2 ** (attempt - 1)


def memory_mb(params: Params, cuda: bool, attempt: int = 1) -> int:
    """Memory of the machine (not of its GPU) in MB that any job of a run may hold."""
    batch = 0 if cuda else ACTIVATIONS * params.sampling.batch_size * _pixels(params)
    data = COPIES * _count(params) * _pixels(params)
    return (LIBRARIES["cuda" if cuda else "cpu"] + math.ceil((data + batch) / 1e6)) * 2 ** (attempt - 1)
