"""The search for each paradigm's learning rate: the same budget for every row, judged on the validation split."""

import math
from collections.abc import Mapping, Sequence
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
from diffbench.evaluation.scoring import reference_sets, references
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
        scores: of the rates tried, by place; the lowest is the best, infinity where a training failed.
    """
    if not scores:
        return count // 2
    best = min(scores, key=lambda place: scores[place])
    return next((i for i in (best - 1, best + 1) if 0 <= i < count and i not in scores), None)


def typical(fids: Sequence[float | None]) -> float:
    """The geometric mean of a rate's FIDs over seeds; infinity where a training failed."""
    if any(fid is None or math.isnan(fid) for fid in fids):
        return math.inf
    return math.exp(sum(math.log(max(fid, 1e-12)) for fid in fids) / len(fids))


def score(
    params: Params,
    row: Paradigm,
    seed: int,
    dataset: splits.Dataset,
    network: judge.Classifier,
    against_validation: Frechet,
    device: torch.device,
) -> dict[str, Any]:
    """Train a row from a seed and score it: the lowest FID over the scales sampled everywhere, with the scale; or none.

    The lowest, since a learning rate is chosen for a row as it is used. A training that fails has none.

    Args:
        params: of a training of ``tune.images``.
        network: the classifier.
        against_validation: the distance of features to the validation split's.
    """
    tune, sampling = params.tune, params.sampling
    trainer = Trainer(params, row, seed, device, dataset)
    if advance(trainer, f"tune {row.id} lr {row.lr:g} seed {seed}") is not None:
        return {"fid": None, "guidance": None, "status": "failed"}
    with torch.no_grad():
        trainer.weights.copy_(trainer.ema)
    prompt = captions(dataset, sampling.selection_images, "selection") if row.conditional else None
    start = starts(sampling.selection_images, dataset.side, seed, "selection", device)
    found = []
    for scale in design.base_scales(params, row.id):
        cell = Cell(sampler=row.samplers[0], steps=tune.steps, guidance=float(scale))
        images, _, whole = generate(trainer.denoiser, cell, prompt, start, dataset.levels, params, seed, "selection")
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
    _, against_validation = reference_sets(params, dataset, references(params), device)
    same = {"images": tune.images, "sampler": row.samplers[0], "steps": tune.steps}
    scores: dict[int, float] = {}
    found = []
    while (place := next_rate(scores, len(rates))) is not None:
        tried = replace(row, lr=rates[place])
        results = [score(own, tried, seed, dataset, network, against_validation, device) for seed in tune.seeds]
        scores[place] = typical([one["fid"] for one in results])
        found += [
            {"paradigm": paradigm_id, "lr": tried.lr, "seed": seed} | same | result
            for seed, result in zip(tune.seeds, results, strict=True)
        ]
    write_json(places.tuning(paradigm_id), sorted(found, key=lambda one: (one["lr"], one["seed"])))


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
    """The learning rate with the lowest FID over seeds, for each paradigm of the search's table."""
    scores = data.groupby(["paradigm", "lr"], sort=False).fid.agg(typical)
    return {key: float(rows.idxmin()[1]) for key, rows in scores.groupby(level="paradigm", sort=False)}
