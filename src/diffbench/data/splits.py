"""The data stage: splits fixed by seed, their prompts, and one file that holds them."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..config import Data
from ..errors import UserError
from ..files import replacing, write_json
from . import prompts

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Split:
    """Images (N, H, W) uint8, labels (N,) int64 and prompts (N, 3) int64."""

    images: np.ndarray
    labels: np.ndarray
    prompts: np.ndarray


@dataclass(frozen=True)
class Dataset:
    """The three splits, the tercile bounds (2, 10, 2) of weight and slant, and the number of grey levels."""

    train: Split
    validation: Split
    test: Split
    bounds: np.ndarray
    levels: int


def prepare(data: Data, path: Path, facts: Path) -> None:
    """Read a source, split it, caption it, and write the data file and its facts.

    Raises:
        UserError: the source's files are missing or damaged, or the validation split takes all of them.
    """
    from sklearn.model_selection import train_test_split

    from . import digits, mnist

    if data.source == "mnist":
        images, labels, test_images, test_labels = mnist.load()
        levels = mnist.LEVELS
    else:
        images, labels, test_images, test_labels = digits.load(data.split_seed)
        levels = digits.LEVELS
    if data.validation > len(images) // 2:
        raise UserError(
            f"data.validation: {data.validation}; allowed: at most half of the {len(images)} training images"
        )
    train, validation = train_test_split(
        np.arange(len(labels)), test_size=data.validation, stratify=labels, random_state=data.split_seed
    )
    bounds = np.stack(
        [prompts.terciles(measure(images[train]), labels[train]) for measure in (prompts.weight, prompts.slant)]
    )
    parts = {
        "train": (images[train], labels[train]),
        "validation": (images[validation], labels[validation]),
        "test": (test_images, test_labels),
    }
    arrays: dict[str, np.ndarray] = {"bounds": bounds, "levels": np.int64(levels)}
    for name, (x, y) in parts.items():
        arrays |= {f"{name}_images": x, f"{name}_labels": y, f"{name}_prompts": prompts.caption(x, y, bounds)}
    with replacing(path) as temporary:
        np.savez_compressed(temporary, **arrays)
    content = b"".join(np.ascontiguousarray(arrays[key]).tobytes() for key in sorted(arrays))
    counts = {f"{name}_images": len(y) for name, (_, y) in parts.items()}
    write_json(
        facts, {"source": data.source, "sha256": hashlib.sha256(content).hexdigest(), "levels": levels, **counts}
    )


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an .npz file; nothing is unpickled.

    Raises:
        UserError: missing or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except FileNotFoundError:
        raise UserError(f"{path}: missing; run 'snakemake --cores all' to make it") from None
    except Exception as error:  # zipfile and numpy raise many kinds for a damaged archive
        raise UserError(f"{path}: damaged ({error}); delete it and run 'snakemake --cores all' again") from None


def load(path: Path) -> Dataset:
    """The data file of a run.

    Raises:
        UserError: missing or damaged.
    """
    arrays = load_arrays(path)
    try:
        splits = {
            name: Split(arrays[f"{name}_images"], arrays[f"{name}_labels"], arrays[f"{name}_prompts"])
            for name in SPLITS
        }
        return Dataset(**splits, bounds=arrays["bounds"], levels=int(arrays["levels"]))
    except KeyError as error:
        raise UserError(f"{path}: lacks {error}; delete it and run 'snakemake --cores all' again") from None


def to_float(images: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """uint8 images (N, H, W) to float32 (N, 1, H, W) in [-1, 1]."""
    return torch.from_numpy(images).to(device)[:, None].float().div_(127.5).sub_(1)  # all of MNIST is 170 MB each time


def quantise(x: Tensor, levels: int) -> np.ndarray:
    """Images (N, 1, H, W) in [-1, 1] to uint8 (N, H, W) on the data's own grey levels.

    Samples get the levels real images have, or a metric could tell the two apart by them.
    """
    level = ((x[:, 0].clamp(-1, 1) + 1) / 2 * (levels - 1)).round()
    return (level * (255 / (levels - 1))).round().to(torch.uint8).cpu().numpy()
