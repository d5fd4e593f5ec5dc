"""Arrays from .npz files."""

from pathlib import Path

import numpy as np

from diffbench.errors import UserError


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
