"""Weights and resume points as safetensors: tensors and one JSON header, nothing that can execute."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from diffbench.errors import UserError
from diffbench.runtime.files import replacing


def digest(tensors: dict[str, Tensor]) -> str:
    """The SHA-256 of tensors on the CPU with their names and shapes; safetensors has no checksum of its own."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name]
        found.update(f"{name} {value.dtype} {tuple(value.shape)}\0".encode())
        found.update(value.reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()


def save(path: Path, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
    """Write tensors and a header atomically. The header is one string: several would be written in any order.

    Raises:
        UserError: the file cannot be written.
    """
    whole = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    text = json.dumps(header | {"sha256": digest(whole)}, sort_keys=True)
    with replacing(path) as temporary:
        try:
            save_file(whole, temporary, metadata={"diffbench": text})
        except SafetensorError as error:
            raise OSError(str(error)) from None


def load(path: Path, device: str = "cpu") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the header of a file.

    Raises:
        UserError: missing, damaged, or not written by diffbench.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})["diffbench"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if digest(tensors) != header.pop("sha256"):
            raise ValueError("its tensors do not agree with their checksum")
    except FileNotFoundError:
        raise UserError(f"{path}: missing; run 'snakemake --cores all' to make it") from None
    except (SafetensorError, KeyError, ValueError, TypeError, AttributeError, OSError) as error:
        raise UserError(f"{path}: damaged ({error}); delete it and run 'snakemake --cores all' again") from None
    return {name: value.to(device) for name, value in tensors.items()}, header
