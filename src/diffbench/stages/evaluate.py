"""The evaluate stage: every cell of one trained network scored, and its pictures for the report."""

from typing import Any

import numpy as np

from diffbench import design
from diffbench.config.models import Params
from diffbench.data import prompts, splits
from diffbench.data.captions import captions
from diffbench.design import NATIVE
from diffbench.device import prepare
from diffbench.evaluation import classifier as judge
from diffbench.evaluation.failures import confusion, failures, word_confusion
from diffbench.evaluation.metrics import measure
from diffbench.evaluation.metrics.sets import Samples
from diffbench.evaluation.scoring import finite, panel, reference_sets, references
from diffbench.runtime import npz
from diffbench.runtime.files import read_json, write_json
from diffbench.runtime.places import Places
from diffbench.tables import pictures, schema


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
    network = judge.load(places.classifier, params.classifier, dataset.side, device)
    arrays = references(params)
    real, against_validation = reference_sets(params, dataset, arrays, device)
    score, ask = measure(real), panel(params, dataset, arrays, real, device)
    prompt = captions(dataset, params.sampling.images, "scored")

    rows: list[dict[str, Any]] = []
    costs: list[dict[str, Any]] = []
    drawings, selection = [], []
    confused: list[dict[str, Any]] = []
    other_words: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    worst = []
    swept, showcase = design.swept(params, paradigm_id, seed), design.showcase(params, paradigm_id, seed)
    # An unconditional row answers no prompt but starts from the same noise: sample i is shown of every row or of none.
    shown = pictures.shown_samples(prompt)
    for steps in design.step_values(params, paradigm_id):
        path = places.samples(paradigm_id, seed, steps)
        facts, drawn = read_json(path.with_suffix(".json")), npz.load_arrays(path)
        for cell, fact, images in zip(
            design.cells(params, paradigm_id, seed, steps), facts["cells"], drawn["images"], strict=True
        ):
            status, values, opinions = fact["status"], {}, []
            if status == "ok":
                features, logits = judge.apply(network, splits.to_float(images, device))
                asked = prompt if paradigm.conditional and cell.guidance != 0 else None
                values = score(Samples(images, features, logits, asked))
                opinions = ask(images, asked)
                if steps != NATIVE and cell in swept and asked is not None:
                    confused += [cell.key | row for row in confusion(logits.argmax(dim=1).cpu().numpy(), asked)]
                    other_words += [cell.key | row for row in word_confusion(images, asked, dataset.bounds)]
                if steps != NATIVE and cell in showcase:
                    for kind, found in failures(images, logits, asked, dataset.bounds).items():
                        tag = {"guidance": cell.guidance, "kind": kind, "strip": len(worst)}
                        failed += [tag | {"place": place} | row for place, row in enumerate(found)]
                        worst.append(strip_of(images, [row["index"] for row in found]))
            rows.append(
                cell.key
                | {"nfe": fact["nfe"], "status": status, "images": len(images), "native": steps == NATIVE}
                | {column.name: finite(values.get(column.name)) for column in schema.SCORES}
                | {"judges": opinions}
            )
            drawings.append(pictures.strips(images[shown]))
            costs.append(cell.key | {name: fact.get(name) for name in ("seconds_per_1000", "peak_memory_bytes")})
        for chosen, images in zip(facts["selection"], drawn["selection"], strict=True):
            good = chosen.pop("status") == "ok"
            fid = against_validation(judge.apply(network, splits.to_float(images, device))[0]) if good else None
            selection.append(chosen | {"fid": fid})
    target = places.evaluation(paradigm_id, seed)
    pictures.sheet(np.concatenate(drawings), target.with_suffix(".png"))
    blank = np.zeros((1, pictures.COLUMNS, dataset.side, dataset.side), np.uint8)  # a PNG needs a row
    pictures.sheet(np.concatenate(worst or [blank]), places.failures(paradigm_id, seed))
    asked_for = [prompts.text(row, dataset.classes) for row in prompt[shown]] if paradigm.conditional else []
    write_json(
        target,
        {
            "cells": rows,
            "selection": selection,
            "confusion": confused,
            "word_confusion": other_words,
            "failures": failed,
            "prompts": asked_for,
        },
    )
    write_json(places.clock(paradigm_id, seed), costs)
