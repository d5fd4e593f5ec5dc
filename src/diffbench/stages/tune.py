"""The search for each paradigm's learning rate: the same budget for every row, judged on the validation split."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch

from diffbench import config, design
from diffbench.config.models import Params
from diffbench.data import splits
from diffbench.data.captions import captions
from diffbench.design import Cell
from diffbench.device import prepare
from diffbench.diffusion.generate import generate, starts
from diffbench.evaluation import classifier as judge
from diffbench.evaluation.scoring import reference_sets
from diffbench.runtime.files import read_json, replacing, write_json
from diffbench.runtime.places import Places
from diffbench.training.trainer import Trainer, advance

COLUMNS = ("paradigm", "lr", "images", "seed", "sampler", "steps", "guidance", "fid", "status")


def table(run: str) -> Path:
    """Where the search's result is committed."""
    return Path("workflow/tuning") / f"{run}.csv"


def run(params: Params, paradigm_id: str, lr: str) -> None:
    """Train one paradigm with one learning rate and score it against the validation split.

    The score is the lowest FID over the scales sampled everywhere, since a learning rate is chosen for a row as it is
    used. A training that fails has none.

    Args:
        lr: one of ``tune.lrs``, as params write it.

    Raises:
        UserError: no such device, or an input is missing or damaged.
    """
    device, places, tune = prepare(params.compute), Places(params.name), params.tune
    row = replace(params.paradigms[paradigm_id], lr=float(lr))
    own = replace(params, training=replace(params.training, images=tune.images, snapshots=[]))
    dataset = splits.load(places.data)
    trainer = Trainer(own, row, tune.seed, device, dataset)
    failed = advance(trainer, f"tune {paradigm_id} lr {lr}")
    score: dict = {"fid": None, "guidance": None, "status": "ok" if failed is None else "failed"}
    if failed is None:
        network = judge.load(places.classifier, params.classifier, params.side, device)
        _, against_validation = reference_sets(params, dataset, device)
        with torch.no_grad():
            trainer.weights.copy_(trainer.ema)
        sampling, found = params.sampling, []
        prompt = captions(dataset, sampling.selection_images, "selection") if row.conditional else None
        start = starts(sampling.selection_images, params.side, tune.seed, "selection", device)
        for scale in design.base_scales(params, paradigm_id):
            cell = Cell(sampler=row.samplers[0], steps=tune.steps, guidance=float(scale))
            images, _, whole = generate(trainer.denoiser, cell, prompt, start, dataset, params, tune.seed, "selection")
            if whole:
                features, _ = judge.apply(network, splits.to_float(images, device))
                found.append((against_validation(features), float(scale)))
        score |= dict(zip(("fid", "guidance"), min(found), strict=True)) if found else {"status": "failed"}
    declared = {"images": tune.images, "seed": tune.seed, "sampler": row.samplers[0], "steps": tune.steps}
    write_json(places.tuning(paradigm_id, lr), {"paradigm": paradigm_id, "lr": float(lr)} | declared | score)


def collect(params: Params) -> None:
    """Write the table of the whole search, and say where params differ from its best."""
    places = Places(params.name)
    rows = [
        read_json(places.tuning(paradigm, config.number(lr))) for paradigm in params.paradigms for lr in params.tune.lrs
    ]
    data = pd.DataFrame(rows, columns=list(COLUMNS))
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
