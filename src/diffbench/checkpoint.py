"""Weights and resume points as safetensors: tensors and one JSON header, nothing that can execute."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from .errors import UserError
from .files import replacing


def save(path: Path, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
    """Write tensors and a header atomically. The header is one string: several would be written in any order."""
    with replacing(path) as temporary:
        contiguous = {name: value.detach().contiguous() for name, value in tensors.items()}
        save_file(contiguous, temporary, metadata={"diffbench": json.dumps(header, sort_keys=True)})


def load(path: Path, device: str = "cpu") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the header of a file.

    Raises:
        UserError: missing, damaged, or not written by diffbench.
    """
    try:
        with safe_open(path, framework="pt", device=device) as file:
            header = json.loads((file.metadata() or {})["diffbench"])
            return {name: file.get_tensor(name) for name in file.keys()}, header  # noqa: SIM118
    except FileNotFoundError:
        raise UserError(f"{path}: missing; run 'snakemake --cores all' to make it") from None
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise UserError(f"{path}: damaged ({error}); delete it and run 'snakemake --cores all' again") from None
