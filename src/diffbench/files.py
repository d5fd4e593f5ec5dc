"""Files that are either whole or absent, and the places of a run's files."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .errors import UserError

REFERENCES = Path("reports/reference")  # runs made elsewhere and committed


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


class Places:
    """Where the files of a run lie: what machines need under results/, what people read under reports/."""

    def __init__(self, run: str):
        self.results, self.reports = Path("results") / run, Path("reports") / run
        self.data = self.results / "data.npz"
        self.data_facts = self.results / "data.json"
        self.classifier = self.results / "classifier.safetensors"
        self.classifier_facts = self.results / "classifier.json"
        self.reference = self.results / "reference.npz"
        self.floors = self.results / "reference.json"
        self.tables = self.reports / "tables"
        self.metrics = self.reports / "metrics.json"
        self.report = self.reports / "report.html"
        self.samples_poster, self.quality_poster = self.reports / "samples.png", self.reports / "quality.png"
        self.manifest = self.results / "manifest.json"
        self.checkpoints = self.results / "checkpoints"
        self.locks = self.results / "locks"
        self.made = self.results / "made"

    def train(self, paradigm: str, seed: int) -> Path:
        """Folder of a training's outputs: model.safetensors, snapshots.safetensors, history.json, cost.json."""
        return self.results / "train" / paradigm / str(seed)

    def resume_point(self, training: str) -> Path:
        """Where a training, named PARADIGM-SEED, goes on after a kill; kept until another job reads its files."""
        return self.checkpoints / f"{training}.safetensors"

    def samples(self, paradigm: str, seed: int, steps: str) -> Path:
        """Images of a sampling stage; its cost lies beside it as .json."""
        return self.results / "samples" / paradigm / str(seed) / f"{steps}.npz"

    def evaluation(self, paradigm: str, seed: int) -> Path:
        """Scores of a trained network's cells; the pictures for the report lie beside it as .png."""
        return self.results / "evaluate" / paradigm / f"{seed}.json"

    def failures(self, paradigm: str, seed: int) -> Path:
        """Pictures of the worst samples of a trained network, described in the scores."""
        return self.results / "evaluate" / paradigm / f"{seed}-failures.png"

    def clock(self, paradigm: str, seed: int) -> Path:
        """What the cells of a trained network took, in the order of the scores."""
        return self.results / "evaluate" / paradigm / f"{seed}-cost.json"

    def convergence(self, paradigm: str, seed: int) -> Path:
        """Scores of a training's snapshots."""
        return self.results / "convergence" / paradigm / f"{seed}.json"

    def probe(self, paradigm: str, seed: int) -> Path:
        """Errors by noise level and the straightness of a trained network; its denoising lies beside it as .png."""
        return self.results / "probe" / paradigm / f"{seed}.json"

    def tuning(self, paradigm: str) -> Path:
        """Scores of a paradigm's learning rates in the search."""
        return self.results / "tune" / f"{paradigm}.json"
