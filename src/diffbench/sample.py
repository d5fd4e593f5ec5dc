"""Sampling one trained network at one step count: all its samplers and guidance scales."""

import itertools
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from . import model, rng
from .config import Cell, Params
from .data import prompts, splits
from .denoiser import Denoiser
from .device import autocast, peak_memory, prepare, reset_peak_memory, synchronise
from .files import Places, replacing, write_json
from .guidance import Guided
from .progress import Progress
from .samplers import SAMPLERS
from .times import SPACINGS
from .turns import turn


def captions(dataset: splits.Dataset, count: int, purpose: str) -> np.ndarray:
    """The fixed list of prompts (count, 3) of the scored or of the selection images.

    Scored prompts follow the training split, whose statistics the headline FID uses; those that choose the
    guidance scale follow the validation split.
    """
    split = dataset.train if purpose == "scored" else dataset.validation
    generator = np.random.default_rng(rng.seed_of("captions", purpose))
    return prompts.stratified(split.prompts, count, generator)


def starts(count: int, side: int, seed: int, purpose: str, device: torch.device) -> Tensor:
    """The noise from which images 0 to ``count`` of every cell start, (count, 1, side, side).

    Drawn on the CPU, so that it is the same on every device.
    """
    return rng.image_noise(0, count, (1, side, side), seed, purpose, "start").to(device)


def draw(
    denoiser: Denoiser, cell: Cell, prompt: Tensor | None, x: Tensor, first: int, seed: int, purpose: str, *, clip: bool
) -> tuple[Tensor, int]:
    """The images of a cell that start from ``x``, (B, 1, H, W) in float, and the evaluations of each.

    Args:
        prompt: prompts (B, 3), or None for an unconditional network.
        x: starting noise, (B, 1, H, W).
        first: the number of the first of them. It decides a stochastic sampler's own noise, which is drawn on the
            device, because there may be 1,000 draws of it.
    """

    def noise(step: int) -> Tensor:
        return rng.image_noise(first, first + len(x), x.shape[1:], seed, purpose, "step", step, device=x.device)

    null = torch.full((prompts.LENGTH,), prompts.NULL, device=x.device)
    guided = Guided(denoiser, prompt, null, cell.guidance, clip=clip, interval=cell.interval, share=cell.rescale)
    ts = SPACINGS[cell.spacing](cell.steps, denoiser.path.levels)
    return SAMPLERS[cell.sampler](guided, denoiser.path, x, ts, noise, **cell.options), guided.nfe


def generate(
    denoiser: Denoiser,
    cell: Cell,
    prompt: np.ndarray | None,
    start: Tensor,
    dataset: splits.Dataset,
    params: Params,
    seed: int,
    purpose: str,
    advance: Callable[[int], None] = lambda count: None,
) -> tuple[np.ndarray, int, bool]:
    """Images of a cell as uint8 (N, H, W), the evaluations of each, and whether all were finite.

    Args:
        prompt: prompts (N, 3), or None for an unconditional network.
        start: ``starts`` of the same seed and purpose, (N, 1, H, W), on the denoiser's device.
        advance: called after each batch with its number of images.
    """
    wanted = None if prompt is None else torch.from_numpy(prompt[: len(start)]).to(start.device)
    images, nfe, finite, first = [], 0, True, 0
    for noise in start.split(params.sampling.batch_size):
        asked = None if wanted is None else wanted[first : first + len(noise)]
        # Not inference_mode: a compiled network is compiled again for tensors from inside it, from the second step on.
        with torch.no_grad(), autocast(start.device, cell.precision or params.compute.precision):
            x, nfe = draw(denoiser, cell, asked, noise, first, seed, purpose, clip=params.sampling.clip)
        finite &= bool(torch.isfinite(x).all())
        images.append(splits.quantise(torch.nan_to_num(x), dataset.levels))
        first += len(noise)
        advance(len(noise))
    return np.concatenate(images), nfe, finite


def warm_ups(cells: list[Cell]) -> list[Cell]:
    """One-step cells that call the network in every way that ``cells`` do: guided and not, in each precision.

    On batches that are not timed memory formats, kernels and caches settle, and compiled code is made.
    """
    ways = [(cell.guidance not in (0, 1), cell.precision) for cell in cells]
    ways += [(False, cell.precision) for cell in cells if cell.interval]  # outside it there is no guidance
    return [
        Cell(sampler="ddim", steps=1, guidance=2.0 if guided else 1.0, precision=precision)
        for guided, precision in dict.fromkeys(ways)
    ]


def run(params: Params, paradigm_id: str, seed: int, steps: str) -> None:
    """The sample stage: images as uint8 (cells, N, H, W) in .npz, and what they cost beside it in .json.

    Raises:
        UserError: no such device, or an input is missing or damaged.
    """
    device, places, sampling = prepare(params.compute), Places(params.name), params.sampling
    dataset = splits.load(places.data)
    paradigm, side = params.paradigms[paradigm_id], params.side
    denoiser, status = model.load(places.train(paradigm_id, seed) / "model.safetensors", paradigm, side, device)
    model.fuse(denoiser, params.compute)
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
    if status == "ok":
        start = starts(sampling.images, side, seed, "scored", device)  # outside the clock: one draw for all cells
        batches = start.split(sampling.batch_size)
        for cell, batch in itertools.product(warm_ups(cells), {len(batch): batch for batch in batches}.values()):
            with turn(params.compute, alone=False):
                generate(denoiser, cell, prompt, batch, dataset, params, seed, "warm-up")
    for cell in cells:
        if status != "ok":
            drawn.append(np.zeros((sampling.images, side, side), np.uint8))
            facts.append({"status": "failed", "nfe": None, "seconds_per_1000": None})
            continue
        with turn(params.compute, alone=True):
            reset_peak_memory(device)
            synchronise(device)
            started = time.perf_counter()
            images, nfe, finite = generate(denoiser, cell, prompt, start, dataset, params, seed, "scored", advance)
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
            with turn(params.compute, alone=False):
                images, _, finite = generate(
                    denoiser, cell, held_out, held_start, dataset, params, seed, "selection", advance
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
