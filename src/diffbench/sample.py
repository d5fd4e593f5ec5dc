"""Sampling one trained network at one step count: all its samplers and guidance scales."""

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from . import model, rng
from .config import Cell, Params
from .data import prompts, splits
from .denoiser import Denoiser
from .device import autocast, peak_memory, prepare, synchronise
from .files import Places, replacing, write_json
from .guidance import Guided
from .progress import Progress
from .samplers import SAMPLERS
from .times import trailing


def captions(dataset: splits.Dataset, count: int, purpose: str) -> np.ndarray:
    """The fixed list of prompts (count, 3) of the scored or of the selection images.

    Scored prompts follow the training split, whose statistics the headline FID uses; those that choose the
    guidance scale follow the validation split.
    """
    split = dataset.train if purpose == "scored" else dataset.validation
    generator = np.random.default_rng(rng.seed_of("captions", purpose))
    return prompts.stratified(split.prompts, count, generator)


def draw(
    denoiser: Denoiser,
    cell: Cell,
    prompt: Tensor | None,
    start: int,
    stop: int,
    side: int,
    seed: int,
    purpose: str,
    *,
    clip: bool,
) -> tuple[Tensor, int]:
    """Images ``start`` to ``stop`` of a cell, (stop - start, 1, side, side) in float, and the evaluations of each.

    The starting noise is drawn on the CPU and is the same on every device; a stochastic sampler's own noise is
    drawn on the device, where there may be 1,000 draws of it.
    """
    device = next(denoiser.parameters()).device
    shape = (1, side, side)
    x = rng.image_noise(start, stop, shape, seed, purpose, "start").to(device)

    def noise(step: int) -> Tensor:
        return rng.image_noise(start, stop, shape, seed, purpose, "step", step, device=device)

    null = torch.full((prompts.LENGTH,), prompts.NULL, device=device)
    guided = Guided(denoiser, prompt, null, cell.guidance, clip=clip)
    ts = trailing(cell.steps, denoiser.path.levels).to(device)
    return SAMPLERS[cell.sampler](guided, denoiser.path, x, ts, noise), guided.nfe


def run(params: Params, paradigm_id: str, seed: int, steps: str) -> None:
    """The sample stage: images as uint8 (cells, N, H, W) in .npz, and what they cost beside it in .json.

    Raises:
        UserError: no such device, or an input is missing or damaged.
    """
    device, places, sampling = prepare(params.compute), Places(params.name), params.sampling
    dataset = splits.load(places.data)
    paradigm, side = params.paradigms[paradigm_id], params.side
    denoiser, status = model.load(places.train(paradigm_id, seed) / "model.safetensors", paradigm, side, device)
    cells = params.cells(paradigm_id, seed, steps)
    everywhere = {float(scale) for scale in params.everywhere(paradigm_id)}
    selecting = [cell for cell in cells if cell.guidance in everywhere] if params.selects(paradigm_id, steps) else []
    label = f"sample {paradigm_id} seed {seed} steps {steps}"
    total = len(cells) * sampling.images + len(selecting) * sampling.selection_images
    progress, done = Progress(label, total, "images"), 0

    def batches(cell: Cell, count: int, purpose: str, advance: Callable[[int], None]) -> tuple[np.ndarray, int, int]:
        wanted = torch.from_numpy(captions(dataset, count, purpose)).to(device) if paradigm.conditional else None
        images, nfe, broken = [], 0, 0
        for start in range(0, count, sampling.batch_size):
            stop = min(start + sampling.batch_size, count)
            prompt = None if wanted is None else wanted[start:stop]
            x, nfe = draw(denoiser, cell, prompt, start, stop, side, seed, purpose, clip=sampling.clip)
            broken += int((~torch.isfinite(x)).flatten(1).any(1).sum())
            images.append(splits.quantise(torch.nan_to_num(x), dataset.levels))
            advance(stop - start)
        return np.concatenate(images), nfe, broken

    def advance(count: int) -> None:
        nonlocal done
        done += count
        progress.update(done)

    drawn, selected, facts = [], [], []
    with torch.inference_mode(), autocast(device, params.compute):
        if status == "ok":
            # Memory formats, kernels and caches settle on a batch that is not timed.
            one = Cell(sampler=cells[0].sampler, steps=1, guidance=cells[0].guidance)
            batch = min(sampling.batch_size, sampling.images)
            prompt = (
                torch.zeros(batch, prompts.LENGTH, dtype=torch.long, device=device) if paradigm.conditional else None
            )
            draw(denoiser, one, prompt, 0, batch, side, seed, "warm-up", clip=sampling.clip)
        for cell in cells:
            if status != "ok":
                drawn.append(np.zeros((sampling.images, side, side), np.uint8))
                facts.append({"status": "failed", "nfe": None, "seconds_per_1000": None})
                continue
            synchronise(device)
            started = time.perf_counter()
            images, nfe, broken = batches(cell, sampling.images, "scored", advance)
            seconds = time.perf_counter() - started
            drawn.append(images)
            facts.append(
                {
                    "status": "failed" if broken else "ok",
                    "nfe": nfe,
                    "seconds_per_1000": 1000 * seconds / sampling.images,
                }
            )
        for cell in selecting:
            count = sampling.selection_images
            images = (
                batches(cell, count, "selection", advance)[0]
                if status == "ok"
                else np.zeros((count, side, side), np.uint8)
            )
            selected.append(images)
    empty = np.zeros((0, 0, side, side), np.uint8)
    path = places.samples(paradigm_id, seed, steps)
    with replacing(path) as temporary:
        np.savez_compressed(temporary, images=np.stack(drawn), selection=np.stack(selected) if selected else empty)
    peak = peak_memory(device)
    keys = [{"sampler": cell.sampler, "steps": cell.steps, "guidance": cell.guidance} for cell in cells]
    chosen = [{"sampler": cell.sampler, "guidance": cell.guidance} for cell in selecting]
    write_json(
        path.with_suffix(".json"),
        {
            "cells": [key | fact | {"peak_memory_bytes": peak} for key, fact in zip(keys, facts, strict=True)],
            "selection": chosen,
        },
    )
