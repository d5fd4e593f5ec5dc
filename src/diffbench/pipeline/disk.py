"""What a run takes on disk, estimated from its params before it starts."""

import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from diffbench import design
from diffbench.config.models import Params
from diffbench.config.presets import is_own
from diffbench.data.sources import SOURCES, image_side
from diffbench.errors import UserError
from diffbench.runtime.places import Places

CACHE = Path(".dvc/cache")
FLOAT = 4  # bytes
PACKED = 0.45  # compressed samples as a share of their pixels, between clean and hazy cells
CELL = 12_000  # bytes of a cell in scores, tables, pictures and the page
FIXED = 10_000_000  # bytes of the classifier and the like


def parameters(params: Params) -> dict[str, int]:
    """The parameters of each row's network, counted without making them."""
    import torch

    from diffbench.diffusion import model

    with torch.device("meta"):
        return {
            name: model.parameters(model.build(paradigm, image_side(params)))
            for name, paradigm in params.paradigms.items()
        }


def estimate(params: Params) -> dict[str, int]:
    """Bytes of a finished run by kind; "cache" is DVC's second copy where the run is params.yaml's own."""
    kept = 1 + len(params.training.snapshots) / 2  # averaged weights at the end, and at each snapshot in half precision
    counts, seeds = parameters(params), params.seeds
    weights = round(sum(counts.values()) * len(seeds) * kept * FLOAT)
    images = cells = 0
    for paradigm in params.paradigms:
        for seed in seeds:
            for steps in design.step_values(params, paradigm):
                own, selecting = (
                    design.cells(params, paradigm, seed, steps),
                    design.selecting(params, paradigm, seed, steps),
                )
                images += len(own) * params.sampling.images + len(selecting) * params.sampling.selection_images
                cells += len(own)
    source = SOURCES[params.data.source]
    real = source.count * (source.side**2 + FLOAT * params.classifier.features)  # images and features
    rest = FIXED + real + cells * CELL
    return {
        "weights": weights,
        "samples": round(images * source.side**2 * PACKED),
        "scores and tables": rest,
        "cache": weights + rest if is_own(params.name) else 0,
    }


def _sizes(folder: Path) -> Iterator[int]:
    """Bytes of each file in a folder; one that a job renames or deletes meanwhile has none."""
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            if path.is_file():
                yield path.stat().st_size


def used(params: Params) -> int:
    """Bytes that a run's files take now."""
    places = Places(params.name)
    return sum(map(sum, map(_sizes, (places.results, places.reports))))


def missing(params: Params) -> int:
    """Bytes that a run still needs, the cache's among them, in which other states may lie."""
    parts = estimate(params)
    cached = min(parts["cache"], sum(_sizes(CACHE))) if parts["cache"] else 0
    return sum(parts.values()) - used(params) - cached


def gib(size: float) -> str:
    """A number of bytes for people."""
    return f"{size / 2**30:.2f} GiB"


def summary(params: Params) -> str:
    """One line: what the run will take, what is there, what is free."""
    parts = estimate(params)
    words = ", ".join(f"{name} {gib(size)}" for name, size in parts.items() if size)
    free = shutil.disk_usage(Path()).free
    return f"disk: about {gib(sum(parts.values()))} when done ({words}); {gib(used(params))} there, {gib(free)} free"


def refuse_if_short(params: Params) -> None:
    """Refuse to start where the disk is clearly too small: less than two thirds of what is still to be written.

    Raises:
        UserError: it is.
    """
    needed, free = missing(params), shutil.disk_usage(Path()).free
    if free < 2 / 3 * needed:
        raise UserError(
            f"results/{params.name}: the run still needs about {gib(needed)} and the disk has {gib(free)} free; "
            f"free space ('python -m diffbench prune {params.name}' lists what may go) or move the folder"
        )
