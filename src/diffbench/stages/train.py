"""The train stage: one paradigm with one seed."""

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffbench.config.models import Paradigm, Params
from diffbench.data import splits
from diffbench.device import prepare
from diffbench.diffusion import model
from diffbench.meters import peak_memory
from diffbench.pipeline.sources import code_hash
from diffbench.runtime import checkpoint
from diffbench.runtime.files import sha256, write_json
from diffbench.runtime.hardware import device_name
from diffbench.runtime.places import Places
from diffbench.training import cost
from diffbench.training.flat_parameters import unflatten
from diffbench.training.trainer import Trainer, advance

CURVE = 100  # points of the loss curve in history.json


def resume_key(params: Params, paradigm: Paradigm, seed: int, device: torch.device) -> str:
    """A hash of all that a resume point depends on: params, code, data, torch and device."""
    row = {
        key: value for key, value in asdict(paradigm).items() if key not in ("label", "role", "samplers", "guidance")
    }
    training = {key: value for key, value in asdict(params.training).items() if key != "checkpoint_seconds"}
    code = code_hash("train", params.data.source)
    facts = [row, seed, training, asdict(params.compute), code, sha256(Places(params.name).data)]
    return hashlib.sha256(json.dumps([*facts, torch.__version__, device.type], sort_keys=True).encode()).hexdigest()


def curve(losses: Tensor, batch: int) -> list[dict[str, float]]:
    """The loss averaged over about CURVE equal stretches, against images seen at the end of each."""
    stretch = max(1, math.ceil(len(losses) / CURVE))
    return [
        {"images": min(start + stretch, len(losses)) * batch, "loss": float(losses[start : start + stretch].mean())}
        for start in range(0, len(losses), stretch)
    ]


def run(params: Params, paradigm_id: str, seed: int, watch: Callable[[Trainer], Any] | None = None) -> None:
    """The train stage: model.safetensors (averaged weights), snapshots.safetensors, history.json and cost.json.

    A loss that is not finite ends the training with status "failed": a result, not an error. The last resume point
    stays: an engine that is killed now has the outputs deleted, and the training run again.

    Args:
        watch: called after every step; tests use it to interrupt.

    Raises:
        UserError: no such device, or the data file is missing or damaged.
    """
    device, paradigm, places = prepare(params.compute), params.paradigms[paradigm_id], Places(params.name)
    trainer = Trainer(params, paradigm, seed, device, splits.load(places.data))
    resume, key = places.resume_point(f"{paradigm_id}-{seed}"), resume_key(params, paradigm, seed, device)
    if trainer.restore(resume, key):
        print(f"resumed at step {trainer.done} of {trainer.steps}")
    failed = advance(trainer, f"train {paradigm_id} seed {seed}", lambda: trainer.save(resume, key), watch)
    _finish(trainer, places.train(paradigm_id, seed), failed)


def _finish(trainer: Trainer, folder: Path, failed: int | None) -> None:
    batch = trainer.params.training.batch_size
    status = "ok" if failed is None else "failed"
    whole = trainer.losses[: trainer.done if failed is None else failed].cpu()
    history: dict[str, Any] = {
        "status": status,
        "steps": trainer.done,
        "images": trainer.done * batch,
        "parameters": model.parameters(trainer.denoiser),
        "macs": cost.macs(trainer.paradigm, trainer.images.shape[-1]),
        "curve": curve(whole, batch),
    }
    if failed is not None:
        history |= {"failed_step": failed, "failed_loss": str(float(trainer.losses[failed]))}
        print(
            f"{trainer.paradigm.id} seed {trainer.seed}: loss {history['failed_loss']} at step {failed}; status failed"
        )
    header = {"paradigm": trainer.paradigm.id, "seed": trainer.seed, "status": status}
    checkpoint.save(folder / "model.safetensors", unflatten(trainer.denoiser.net, trainer.ema), header)
    # A failed training keeps the averages from before its failure.
    taken = [mark for mark in trainer.marks if mark <= (trainer.done if failed is None else failed)]
    # Four fifths of a run's weights: in half precision they fit the disk, and FID moves by less than a thousandth.
    whole_rows = trainer.snapshots[: len(taken)].half()
    checkpoint.save(
        folder / "snapshots.safetensors", {"ema": whole_rows}, header | {"images": [mark * batch for mark in taken]}
    )
    write_json(folder / "history.json", history)
    write_json(
        folder / "cost.json",
        {
            "device": device_name(trainer.device),
            "seconds": trainer.seconds,
            "images_per_second": trainer.done * batch / max(trainer.seconds, 1e-9),
            "peak_memory_bytes": peak_memory(trainer.device),
        },
    )
