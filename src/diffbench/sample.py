"""Sampling one trained network at one step count: all its samplers and guidance scales."""

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from . import model, rng
from .config import Cell, Params, Sampling
from .data import prompts, splits
from .denoiser import Denoiser
from .device import autocast, peak_memory, prepare, reset_peak_memory, synchronise
from .files import Places, replacing, write_json
from .guidance import Guided
from .progress import Progress
from .samplers import SAMPLERS
from .times import SPACINGS


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
    guided = Guided(denoiser, prompt, null, cell.guidance, clip=clip, interval=cell.interval, share=cell.rescale)
    ts = SPACINGS[cell.spacing](cell.steps, denoiser.path.levels).to(device)
    return SAMPLERS[cell.sampler](guided, denoiser.path, x, ts, noise, **cell.options), guided.nfe


def generate(
    denoiser: Denoiser,
    cell: Cell,
    prompt: np.ndarray | None,
    count: int,
    dataset: splits.Dataset,
    sampling: Sampling,
    seed: int,
    purpose: str,
    advance: Callable[[int], None] = lambda count: None,
) -> tuple[np.ndarray, int, bool]:
    """Images of a cell as uint8 (count, side, side), the evaluations of each, and whether all were finite.

    Args:
        prompt: prompts (count, 3), or None for an unconditional network.
        advance: called after each batch with its number of images.
    """
    device, side = next(denoiser.parameters()).device, dataset.train.images.shape[-1]
    wanted = None if prompt is None else torch.from_numpy(prompt).to(device)
    images, nfe, finite = [], 0, True
    for start in range(0, count, sampling.batch_size):
        stop = min(start + sampling.batch_size, count)
        asked = None if wanted is None else wanted[start:stop]
        x, nfe = draw(denoiser, cell, asked, start, stop, side, seed, purpose, clip=sampling.clip)
        finite &= bool(torch.isfinite(x).all())
        images.append(splits.quantise(torch.nan_to_num(x), dataset.levels))
        advance(stop - start)
    return np.concatenate(images), nfe, finite


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
    selecting = params.selecting(paradigm_id, seed, steps)
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
    with torch.inference_mode(), autocast(device, params.compute):
        if status == "ok":
            # Memory formats, kernels and caches settle on a batch that is not timed.
            one = Cell(sampler="ddim", steps=1, guidance=max(cell.guidance for cell in cells))  # the largest batch too
            batch = min(sampling.batch_size, sampling.images)
            generate(denoiser, one, prompt, batch, dataset, sampling, seed, "warm-up")
        for cell in cells:
            if status != "ok":
                drawn.append(np.zeros((sampling.images, side, side), np.uint8))
                facts.append({"status": "failed", "nfe": None, "seconds_per_1000": None})
                continue
            reset_peak_memory(device)
            synchronise(device)
            started = time.perf_counter()
            images, nfe, finite = generate(
                denoiser, cell, prompt, sampling.images, dataset, sampling, seed, "scored", advance
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
        for cell in selecting:
            count, finite = sampling.selection_images, False
            images = np.zeros((count, side, side), np.uint8)
            if status == "ok":
                images, _, finite = generate(
                    denoiser, cell, held_out, count, dataset, sampling, seed, "selection", advance
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
