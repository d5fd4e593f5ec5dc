"""The evaluate stage: every cell of one trained network scored, and its pictures for the report."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from . import classifier as judge
from .config import Cell, Params
from .data import splits
from .device import prepare
from .files import Places, read_json, replacing, write_json
from .metrics.adherence import digit_error, word_errors
from .metrics.frechet import Frechet
from .metrics.manifold import Manifold
from .sample import captions

MEASURES = ("fid", "precision", "recall", "density", "coverage", "digit_error", "weight_error", "slant_error")
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


def finite(value: float) -> float | None:
    """A number for JSON; null stands for "does not apply"."""
    return value if math.isfinite(value) else None


def run(params: Params, paradigm_id: str, seed: int) -> None:
    """Write a trained network's scores, its samples' measured cost, and a picture with ten digits a cell.

    Cost has a file of its own because a clock never gives the same bytes twice.

    Raises:
        UserError: no such device, or an input is missing or damaged.
    """
    device, places = prepare(params.compute), Places(params.name)
    dataset, paradigm = splits.load(places.data), params.paradigms[paradigm_id]
    network = judge.load(places.classifier, params.classifier, params.side, device)
    arrays = splits.load_arrays(places.reference)
    train = torch.from_numpy(arrays["train"]).to(device)
    against_train = Frechet(train)
    against_validation = Frechet(torch.from_numpy(arrays["validation"]).to(device))
    neighbours = Manifold(train[torch.from_numpy(arrays["manifold_rows"]).to(device)], params.evaluation.neighbours)
    prompt = captions(dataset, params.sampling.images, "scored")

    def score(images: np.ndarray, cell: Cell) -> dict[str, float | None]:
        features, logits = judge.apply(network, splits.to_float(images, device))
        values: dict[str, float | None] = {"fid": against_train(features), **neighbours(features)._asdict()}
        if paradigm.conditional and cell.guidance != 0:
            weight_error, slant_error = word_errors(images, prompt, dataset.bounds)
            error = digit_error(logits.cpu(), torch.from_numpy(prompt))
            values |= {"digit_error": error, "weight_error": weight_error, "slant_error": slant_error}
        return values

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
            status = fact["status"]
            values = score(images, cell) if status == "ok" else {}
            rows.append(
                {
                    "sampler": cell.sampler,
                    "steps": cell.steps,
                    "guidance": cell.guidance,
                    "nfe": fact["nfe"],
                    "status": status,
                    "images": len(images),
                    "native": steps == "native",
                }
                | {name: None if (v := values.get(name)) is None else finite(v) for name in MEASURES}
            )
            pictures.append(images[shown])
            costs.append({key: value for key, value in fact.items() if key not in ("nfe", "status")})
        for chosen, images in zip(facts["selection"], drawn["selection"], strict=True):
            good = next(f["status"] for f in facts["cells"] if all(f[k] == v for k, v in chosen.items())) == "ok"
            fid = against_validation(judge.apply(network, splits.to_float(images, device))[0]) if good else None
            selection.append(chosen | {"fid": fid})
    target = places.evaluation(paradigm_id, seed)
    sheet(np.stack(pictures), target.with_suffix(".png"))
    write_json(target, {"cells": rows, "selection": selection})
    write_json(places.clock(paradigm_id, seed), costs)
