"""Files that are either whole or absent."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from diffbench.errors import UserError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its name when the block ends well.

    The suffix is kept, since some writers decide by it. A killed process leaves at most the temporary file.

    Raises:
        UserError: the file cannot be written (disk full, no permission).
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb+") as handle:
            os.fsync(handle.fileno())
        temporary.replace(path)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror or error}); free space or fix permissions"
        ) from None
    finally:
        with suppress(OSError):  # a folder that cannot be written holds no temporary file either
            temporary.unlink(missing_ok=True)


def check_folder(folder: Path) -> None:
    """Refuse a folder in which files cannot be written, for those whose writer's own error names no way out.

    Raises:
        UserError: it is no folder, its disk is full or read-only, or there is no permission.
    """
    trial = folder / f".trial.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        trial.write_bytes(b"x")
    except OSError as error:
        where = next(path for path in (folder, *folder.parents) if path.exists())
        raise UserError(
            f"{where if not where.is_dir() else folder}: cannot be written ({error.strerror or error}); "
            "free space or fix permissions"
        ) from None
    finally:
        with suppress(OSError):
            trial.unlink()


def write_json(path: Path, data: Any) -> None:
    """Write JSON with sorted keys; the same data gives the same bytes."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(data, indent=1, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """JSON of a file an earlier stage wrote.

    Raises:
        UserError: missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: missing; run 'snakemake --cores all' to make it") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: damaged ({error}); delete it and run 'snakemake --cores all' again") from None


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
