"""The search for each paradigm's learning rate: the same budget for every row, judged on the validation split."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from diffbench import design
from diffbench.config.models import Paradigm, Params
from diffbench.data import splits
from diffbench.data.captions import captions
from diffbench.design import Cell
from diffbench.device import prepare
from diffbench.diffusion.generate import generate, starts
from diffbench.evaluation import classifier as judge
from diffbench.evaluation.metrics.frechet import Frechet
from diffbench.evaluation.scoring import reference_sets
from diffbench.runtime.files import read_json, replacing, write_json
from diffbench.runtime.places import Places
from diffbench.training.trainer import Trainer, advance

COLUMNS = ("paradigm", "lr", "images", "seed", "sampler", "steps", "guidance", "fid", "status")


def table(run: str) -> Path:
    """Where the search's result is committed."""
    return Path("workflow/tuning") / f"{run}.csv"


def next_rate(scores: Mapping[int, float], count: int) -> int | None:
    """The place of the rate to try next among ``count`` rising ones; None when the search is over.

    It starts in the middle and goes on beside the best so far, until that has a worse one on each side or lies at the
    edge.

    Args:
        scores: of the rates tried, by place; the lowest is the best, infinity a failed training.
    """
    if not scores:
        return count // 2
    best = min(scores, key=lambda place: scores[place])
    return next((i for i in (best - 1, best + 1) if 0 <= i < count and i not in scores), None)


def score(
    params: Params,
    row: Paradigm,
    dataset: splits.Dataset,
    network: judge.Classifier,
    against_validation: Frechet,
    device: torch.device,
) -> dict[str, Any]:
    """Train a row and score it: the lowest FID over the scales sampled everywhere, with the scale; or none.

    The lowest, since a learning rate is chosen for a row as it is used. A training that fails has none.

    Args:
        params: of a training of ``tune.images``.
        network: the classifier.
        against_validation: the distance of features to the validation split's.
    """
    tune, sampling = params.tune, params.sampling
    trainer = Trainer(params, row, tune.seed, device, dataset)
    if advance(trainer, f"tune {row.id} lr {row.lr:g}") is not None:
        return {"fid": None, "guidance": None, "status": "failed"}
    with torch.no_grad():
        trainer.weights.copy_(trainer.ema)
    prompt = captions(dataset, sampling.selection_images, "selection") if row.conditional else None
    start = starts(sampling.selection_images, dataset.side, tune.seed, "selection", device)
    found = []
    for scale in design.base_scales(params, row.id):
        cell = Cell(sampler=row.samplers[0], steps=tune.steps, guidance=float(scale))
        images, _, whole = generate(
            trainer.denoiser, cell, prompt, start, dataset.levels, params, tune.seed, "selection"
        )
        if whole:
            features, _ = judge.apply(network, splits.to_float(images, device))
            found.append((against_validation(features), float(scale)))
    if not found:
        return {"fid": None, "guidance": None, "status": "failed"}
    return dict(zip(("fid", "guidance"), min(found), strict=True)) | {"status": "ok"}


def run(params: Params, paradigm_id: str | None) -> None:
    """Search one paradigm's learning rate, or collect all that were searched where none is named.

    Raises:
        UserError: as ``search`` and ``collect``.
    """
    if paradigm_id is None:
        collect(params)
    else:
        search(params, paradigm_id)


def search(params: Params, paradigm_id: str) -> None:
    """Search one paradigm's learning rate among ``tune.lrs``, and write the rates tried with their scores.

    Raises:
        UserError: no such device, or an input is missing or damaged.
    """
    device, places, tune = prepare(params.compute), Places(params.name), params.tune
    row, rates = params.paradigms[paradigm_id], sorted(tune.lrs)
    own = replace(params, training=replace(params.training, images=tune.images, snapshots=[]))
    dataset = splits.load(places.data)
    network = judge.load(places.classifier, params.classifier, dataset.side, device)
    _, against_validation = reference_sets(params, dataset, device)
    facts = {"images": tune.images, "seed": tune.seed, "sampler": row.samplers[0], "steps": tune.steps}
    scores: dict[int, float] = {}
    found = []
    while (place := next_rate(scores, len(rates))) is not None:
        result = score(own, replace(row, lr=rates[place]), dataset, network, against_validation, device)
        scores[place] = math.inf if result["fid"] is None else result["fid"]
        found.append({"paradigm": paradigm_id, "lr": rates[place]} | facts | result)
    write_json(places.tuning(paradigm_id), sorted(found, key=lambda one: one["lr"]))


def collect(params: Params) -> None:
    """Write the table of the whole search, and say where params differ from its best.

    Raises:
        UserError: a paradigm has not been searched.
    """
    places = Places(params.name)
    data = pd.DataFrame(
        [one for paradigm in params.paradigms for one in read_json(places.tuning(paradigm))], columns=list(COLUMNS)
    )
    with replacing(table(params.name)) as temporary:
        data.to_csv(temporary, index=False, lineterminator="\n")
    for paradigm, best in best_rates(data).items():
        used = params.paradigms[paradigm].lr
        note = "" if used == best else f"; params use {used:g}"
        print(f"{paradigm}: lr {best:g}{note}")


def best_rates(data: pd.DataFrame) -> dict[str, float]:
    """The learning rate of the lowest FID for each paradigm of the search's table."""
    scored = data[data.fid.notna()]
    return {key: float(rows.loc[rows.fid.idxmin()].lr) for key, rows in scored.groupby("paradigm", sort=False)}
