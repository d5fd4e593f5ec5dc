"""Sampling one trained network at one step count: all its samplers and guidance scales."""

import itertools
import time

import numpy as np

from diffbench import design
from diffbench.config.models import Params
from diffbench.data import splits
from diffbench.data.captions import captions
from diffbench.design import Cell
from diffbench.device import prepare
from diffbench.diffusion import model
from diffbench.diffusion.denoiser import Denoiser
from diffbench.diffusion.generate import generate, starts
from diffbench.meters import peak_memory, reset_peak_memory, synchronise
from diffbench.runtime.files import replacing, write_json
from diffbench.runtime.gpu_lock import hold
from diffbench.runtime.places import Places
from diffbench.runtime.progress import Progress
from diffbench.training.snapshots import wind_back


def warm_ups(cells: list[Cell]) -> list[Cell]:
    """One-step cells that call the network in every way that ``cells`` do: guided and not, in each precision.

    On batches that are not timed memory formats, kernels and caches settle, and compiled code is made.
    """
    ways = [(cell.guidance not in (0, 1), cell.precision, cell.negative) for cell in cells]
    ways += [(False, cell.precision, None) for cell in cells if cell.interval]  # outside it there is no guidance
    return [
        Cell(sampler="ddim", steps=1, guidance=2.0 if guided else 1.0, precision=precision, negative=negative)
        for guided, precision, negative in dict.fromkeys(ways)
    ]


def run(params: Params, paradigm_id: str, seed: int, steps: str) -> None:
    """The sample stage: images as uint8 (cells, N, H, W) in .npz, and what they cost beside it in .json.

    Raises:
        UserError: no such device, or an input is missing or damaged.
    """
    device, places, sampling = prepare(params.compute), Places(params.name), params.sampling
    dataset = splits.load(places.data)
    paradigm, side, levels = params.paradigms[paradigm_id], dataset.side, dataset.levels
    denoiser, status = model.load(places.train(paradigm_id, seed) / "model.safetensors", paradigm, side, device)
    model.fuse(denoiser, params.compute)
    cells = design.cells(params, paradigm_id, seed, steps)
    worse: dict[float | None, Denoiser] = {}  # networks to steer away from
    for share in {cell.negative for cell in cells if cell.negative is not None and status == "ok"}:
        fresh = model.on_device(model.build(paradigm, side), device)
        snapshots = places.train(paradigm_id, seed) / "snapshots.safetensors"
        worse[share] = wind_back(fresh, snapshots, params.training, share)
        model.fuse(worse[share], params.compute)
    selecting = design.selecting(params, paradigm_id, seed, steps)
    prompt = captions(dataset, sampling.images, "scored") if paradigm.conditional else None
    held_out = captions(dataset, sampling.selection_images, "selection") if paradigm.conditional else None
    label = f"sample {paradigm_id} seed {seed} steps {steps}"
    total = len(cells) * sampling.images + len(selecting) * sampling.selection_images
    progress, done = Progress(label, total, "images"), 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        progress.update(done)

    drawn, facts, selected, choices = [], [], [], []
    if status == "ok":
        start = starts(sampling.images, side, seed, "scored", device)  # outside the clock: one draw for all cells
        batches = start.split(sampling.batch_size)
        for cell, batch in itertools.product(warm_ups(cells), {len(batch): batch for batch in batches}.values()):
            with hold(params.compute.device, alone=False):
                generate(
                    denoiser, cell, prompt, batch, levels, params, seed, "warm-up", negative=worse.get(cell.negative)
                )
    for cell in cells:
        if status != "ok":
            drawn.append(np.zeros((sampling.images, side, side), np.uint8))
            facts.append({"status": "failed", "nfe": None, "seconds_per_1000": None})
            continue
        with hold(params.compute.device, alone=True):
            reset_peak_memory(device)
            synchronise(device)
            started = time.perf_counter()
            images, nfe, finite = generate(
                denoiser, cell, prompt, start, levels, params, seed, "scored", advance, worse.get(cell.negative)
            )
            synchronise(device)
            seconds = time.perf_counter() - started
        drawn.append(images)
        facts.append(
            {
                "status": "ok" if finite else "failed",
                "nfe": nfe,
                "seconds_per_1000": 1000 * seconds / sampling.images,
                "peak_memory_bytes": peak_memory(device),
            }
        )
    held_start = starts(sampling.selection_images, side, seed, "selection", device)
    for cell in selecting:
        finite, images = False, np.zeros((sampling.selection_images, side, side), np.uint8)
        if status == "ok":
            with hold(params.compute.device, alone=False):
                images, _, finite = generate(
                    denoiser, cell, held_out, held_start, levels, params, seed, "selection", advance
                )
        selected.append(images)
        choices.append({"sampler": cell.sampler, "guidance": cell.guidance, "status": "ok" if finite else "failed"})
    empty = np.zeros((0, 0, side, side), np.uint8)
    path = places.samples(paradigm_id, seed, steps)
    with replacing(path) as temporary:
        np.savez_compressed(temporary, images=np.stack(drawn), selection=np.stack(selected) if selected else empty)
    write_json(
        path.with_suffix(".json"),
        {
            "cells": [cell.key | fact for cell, fact in zip(cells, facts, strict=True)],
            "selection": choices,
        },
    )
