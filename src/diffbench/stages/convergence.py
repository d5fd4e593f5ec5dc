"""The convergence stage: quality of a training's averaged weights at declared shares of its budget."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from diffbench.config.models import Params
from diffbench.data import splits
from diffbench.data.captions import captions
from diffbench.design import Cell
from diffbench.device import prepare
from diffbench.diffusion import model
from diffbench.diffusion.denoiser import Denoiser
from diffbench.diffusion.generate import generate, starts
from diffbench.errors import UserError
from diffbench.evaluation import classifier as judge
from diffbench.evaluation.metrics import measure
from diffbench.evaluation.metrics.sets import Samples
from diffbench.evaluation.scoring import finite, panel, reference_sets, references
from diffbench.runtime import checkpoint
from diffbench.runtime.files import read_json, write_json
from diffbench.runtime.places import Places
from diffbench.runtime.progress import Progress
from diffbench.tables import pictures, schema
from diffbench.training.flat_parameters import flatten
from diffbench.training.snapshots import images_at_snapshots


def snapshots(folder: Path, denoiser: Denoiser, images: int) -> Iterator[tuple[int, Denoiser]]:
    """Yield the images seen at each snapshot and at the end, with the averaged weights of then in ``denoiser``.

    Args:
        folder: the training's.
        denoiser: of the same network and memory format as in training, on its device.
        images: those of the whole training.

    Raises:
        UserError: a file is missing, damaged, or of another network.
    """
    path = folder / "snapshots.safetensors"
    tensors, header = checkpoint.load(path)
    last, _ = checkpoint.load(folder / "model.safetensors")
    weights = flatten(denoiser.net)  # (P,)
    if tensors["ema"].shape[1:] != weights.shape:
        raise UserError(f"{path}: holds another network than params say; delete it and run again")
    for seen, average in zip(header["images"], tensors["ema"], strict=True):
        with torch.no_grad():
            weights.copy_(average)
        yield seen, denoiser
    if header["status"] == "ok":
        denoiser.net.load_state_dict(last)
        yield images, denoiser


def run(params: Params, paradigm_id: str, seed: int) -> None:
    """Score every snapshot of a training as a cell of its own, and show the same samples of each.

    Raises:
        UserError: no such device, or an input is missing or damaged.
    """
    device, places = prepare(params.compute), Places(params.name)
    dataset, paradigm = splits.load(places.data), params.paradigms[paradigm_id]
    folder, sampling = places.train(paradigm_id, seed), params.sampling
    history = read_json(folder / "history.json")
    network = judge.load(places.classifier, params.classifier, dataset.side, device)
    arrays = references(params)
    real, _ = reference_sets(params, dataset, arrays, device)
    score, ask = measure(real), panel(params, dataset, arrays, real, device)
    listed = captions(dataset, sampling.images, "scored")
    prompt, shown = listed if paradigm.conditional else None, pictures.shown_samples(listed)[: pictures.COLUMNS]
    scale = 1.0 if paradigm.conditional else 0.0
    # One second-order sampler for every row: with each row's own, what shows is how the sampler errs in few steps.
    cell = Cell(sampler=params.convergence.sampler, steps=params.convergence.steps, guidance=scale)
    denoiser = model.on_device(model.build(paradigm, dataset.side), device).eval()
    model.fuse(denoiser, params.compute)
    start = starts(sampling.images, dataset.side, seed, "scored", device)
    marks = images_at_snapshots(params.training)
    progress = Progress(f"convergence {paradigm_id} seed {seed}", len(marks), "snapshots")
    rows, drawn = [], {}
    for seen, trained in snapshots(folder, denoiser, history["images"]):
        images, _, whole = generate(trained, cell, prompt, start, dataset.levels, params, seed, "scored")
        values, opinions = {}, []
        if whole:
            features, logits = judge.apply(network, splits.to_float(images, device))
            values, opinions = score(Samples(images, features, logits, prompt)), ask(images, prompt)
            drawn[seen] = images[shown]
        scores = {column.name: finite(values.get(column.name)) for column in schema.SCORES}
        rows.append({"images": seen, "status": "ok" if whole else "failed"} | scores | {"judges": opinions})
        progress.update(len(rows))
    scored, missing = {row["images"] for row in rows}, {column.name: None for column in schema.SCORES}
    rows += [{"images": mark, "status": "failed"} | missing | {"judges": []} for mark in marks if mark not in scored]
    target, blank = places.convergence(paradigm_id, seed), np.zeros((pictures.COLUMNS, *[dataset.side] * 2), np.uint8)
    pictures.sheet(np.stack([drawn.get(mark, blank) for mark in marks]), target.with_suffix(".png"))
    write_json(target, rows)
