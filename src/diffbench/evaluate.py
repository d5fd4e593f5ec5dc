"""The evaluate stage: every cell of one trained network scored, and its pictures for the report."""

from typing import Any

import numpy as np
import torch

from . import classifier as judge
from . import pictures, tables
from .config import NATIVE, Params
from .data import prompts, splits
from .device import prepare
from .files import Places, read_json, write_json
from .metrics import measure
from .metrics.sets import Samples
from .sample import captions
from .scoring import finite, reference_sets


def confusion(shown: np.ndarray, prompt: np.ndarray) -> list[dict[str, int]]:
    """How often each digit (N,) was seen where each was asked for (N, 3), pairs that never occur left out."""
    pairs, counts = np.unique(np.stack([prompt[:, 0], shown], axis=1), axis=0, return_counts=True)
    return [
        {"asked": int(asked), "shown": int(seen), "images": int(count)}
        for (asked, seen), count in zip(pairs, counts, strict=True)
    ]


def failures(logits: torch.Tensor, prompt: np.ndarray | None) -> dict[str, list[dict[str, Any]]]:
    """The worst samples of a cell, at most ten of a kind, each with its index, digit and confidence.

    "wrong" are those the classifier takes for another digit than asked for, the surest first; "unsure" are, of the
    others, those it is least sure of.

    Args:
        logits: of the classifier, (N, 10).
        prompt: what was asked for, (N, 3), or None.
    """
    confidence, shown = (value.cpu().numpy() for value in logits.double().softmax(dim=1).max(dim=1))
    wrong = np.zeros(len(shown), bool) if prompt is None else shown != prompt[:, 0]
    order = np.argsort(confidence, kind="stable")
    kinds = {"wrong": order[::-1][wrong[order[::-1]]], "unsure": order[~wrong[order]]}
    return {
        kind: [
            {"index": int(i), "shown": int(shown[i]), "confidence": float(confidence[i])}
            | ({} if prompt is None else {"asked": int(prompt[i, 0])})
            for i in index[: pictures.COLUMNS]
        ]
        for kind, index in kinds.items()
    }


def strip_of(images: np.ndarray, index: list[int]) -> np.ndarray:
    """Some of the images (N, H, W) as one strip, (1, COLUMNS, H, W), filled up with white."""
    strip = np.zeros((1, pictures.COLUMNS, *images.shape[1:]), images.dtype)
    strip[0, : len(index)] = images[index]
    return strip


def run(params: Params, paradigm_id: str, seed: int) -> None:
    """Write a trained network's scores, its samples' measured cost, and pictures of its cells and of its failures.

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
    drawings, selection = [], []
    confused: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    worst = []
    swept, showcase = params.swept(paradigm_id, seed), params.showcase(paradigm_id, seed)
    # An unconditional row answers no prompt but starts from the same noise: sample i is shown of every row or of none.
    shown = pictures.shown(prompt)
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
                if steps != NATIVE and cell in swept and asked is not None:
                    confused += [cell.key | row for row in confusion(logits.argmax(dim=1).cpu().numpy(), asked)]
                if steps != NATIVE and cell in showcase:
                    for kind, found in failures(logits, asked).items():
                        tag = {"guidance": cell.guidance, "kind": kind, "strip": len(worst)}
                        failed += [tag | {"place": place} | row for place, row in enumerate(found)]
                        worst.append(strip_of(images, [row["index"] for row in found]))
            rows.append(
                cell.key
                | {"nfe": fact["nfe"], "status": status, "images": len(images), "native": steps == NATIVE}
                | {column.name: finite(values.get(column.name)) for column in tables.SCORES}
            )
            drawings.append(pictures.strips(images[shown]))
            costs.append(cell.key | {name: fact.get(name) for name in ("seconds_per_1000", "peak_memory_bytes")})
        for chosen, images in zip(facts["selection"], drawn["selection"], strict=True):
            good = chosen.pop("status") == "ok"
            fid = against_validation(judge.apply(network, splits.to_float(images, device))[0]) if good else None
            selection.append(chosen | {"fid": fid})
    target = places.evaluation(paradigm_id, seed)
    pictures.sheet(np.concatenate(drawings), target.with_suffix(".png"))
    blank = np.zeros((1, pictures.COLUMNS, params.side, params.side), np.uint8)  # a PNG needs a row
    pictures.sheet(np.concatenate(worst or [blank]), places.failures(paradigm_id, seed))
    asked_for = [prompts.text(row) for row in prompt[shown]] if paradigm.conditional else []
    write_json(
        target,
        {"cells": rows, "selection": selection, "confusion": confused, "failures": failed, "prompts": asked_for},
    )
    write_json(places.clock(paradigm_id, seed), costs)
