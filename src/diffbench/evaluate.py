"""The evaluate stage: every cell of one trained network scored, and its pictures for the report."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from . import classifier as judge
from . import tables
from .config import NATIVE, Params
from .data import splits
from .device import prepare
from .files import Places, read_json, replacing, write_json
from .metrics import measure
from .metrics.frechet import Frechet
from .metrics.sets import Real, Samples
from .sample import captions

GREYS = 16  # grey levels of the pictures; metrics use the raw arrays


def sheet(rows: np.ndarray, path: Path) -> None:
    """Write images (R, C, H, W) uint8 as one 16-grey PNG of R rows and C columns; white is the background."""
    r, c, h, w = rows.shape
    grid = rows.transpose(0, 2, 1, 3).reshape(r * h, c * w)
    grid = np.where(grid < 8, 0, grid)  # an invisible haze would double the file
    image = Image.fromarray(np.round(grid / 255 * (GREYS - 1)).astype(np.uint8), mode="P")
    image.putpalette([255 - round(255 * level / (GREYS - 1)) for level in range(GREYS) for _ in range(3)])
    with replacing(path) as temporary:
        image.save(temporary, format="PNG", bits=4, optimize=True)


def one_of_each(prompt: np.ndarray) -> np.ndarray:
    """Indices of the first prompt (N, 3) for each digit, (10,); the first ten where a digit is not asked for."""
    first = [np.flatnonzero(prompt[:, 0] == digit)[:1] for digit in range(10)]
    return np.concatenate(first) if all(len(index) for index in first) else np.arange(10)


def finite(value: float | None) -> float | None:
    """A number for JSON; null stands for "does not apply"."""
    return value if value is not None and math.isfinite(value) else None


def reference_sets(params: Params, dataset: splits.Dataset, device: torch.device) -> tuple[Real, Frechet]:
    """What cells are scored against, and the distance to the validation split, which chooses between them.

    Raises:
        UserError: the reference file is missing or damaged.
    """
    arrays = splits.load_arrays(Places(params.name).reference)
    train = torch.from_numpy(arrays["train"]).to(device)
    rows = torch.from_numpy(arrays["manifold_rows"]).to(device)
    real = Real(
        train, train[rows], params.evaluation.neighbours, dataset.bounds, dataset.train.images, dataset.train.labels,
        dataset.test.images,
    )  # fmt: skip
    return real, Frechet(torch.from_numpy(arrays["validation"]).to(device))


def run(params: Params, paradigm_id: str, seed: int) -> None:
    """Write a trained network's scores, its samples' measured cost, and a picture with ten digits a cell.

    Cost has a file of its own because a clock never gives the same bytes twice.

    Raises:
        UserError: no such device, or an input is missing or damaged.
    """
    device, places = prepare(params.compute), Places(params.name)
    dataset, paradigm = splits.load(places.data), params.paradigms[paradigm_id]
    network = judge.load(places.classifier, params.classifier, params.side, device)
    real, against_validation = reference_sets(params, dataset, device)
    score = measure(real)
    prompt = captions(dataset, params.sampling.images, "scored")

    rows: list[dict[str, Any]] = []
    costs: list[dict[str, Any]] = []
    pictures, selection = [], []
    shown = one_of_each(prompt) if paradigm.conditional else np.arange(10)
    for steps in params.step_values(paradigm_id):
        path = places.samples(paradigm_id, seed, steps)
        facts, drawn = read_json(path.with_suffix(".json")), splits.load_arrays(path)
        for cell, fact, images in zip(
            params.cells(paradigm_id, seed, steps), facts["cells"], drawn["images"], strict=True
        ):
            status, values = fact["status"], {}
            if status == "ok":
                features, logits = judge.apply(network, splits.to_float(images, device))
                asked = prompt if paradigm.conditional and cell.guidance != 0 else None
                values = score(Samples(images, features, logits, asked))
            rows.append(
                cell.key
                | {"nfe": fact["nfe"], "status": status, "images": len(images), "native": steps == NATIVE}
                | {column.name: finite(values.get(column.name)) for column in tables.SCORES}
            )
            pictures.append(images[shown])
            costs.append(cell.key | {name: fact.get(name) for name in ("seconds_per_1000", "peak_memory_bytes")})
        for chosen, images in zip(facts["selection"], drawn["selection"], strict=True):
            good = chosen.pop("status") == "ok"
            fid = against_validation(judge.apply(network, splits.to_float(images, device))[0]) if good else None
            selection.append(chosen | {"fid": fid})
    target = places.evaluation(paradigm_id, seed)
    sheet(np.stack(pictures), target.with_suffix(".png"))
    write_json(target, {"cells": rows, "selection": selection})
    write_json(places.clock(paradigm_id, seed), costs)
