"""What each job's files were made from: a record beside them, written by the job itself.

The engines decide what to run by what they saw before and after a job, which an edit in between, a forced commit or a
command given by hand deceives. A record holds what the job itself read, is a declared output like any other, and so
travels with the files through DVC's cache; the manifest takes nothing for current that the records do not prove.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from diffbench.config.models import Params
from diffbench.config.presets import extension_files
from diffbench.errors import UserError
from diffbench.pipeline import dag, engines
from diffbench.pipeline.jobs import Job, jobs, lies_in, pick
from diffbench.pipeline.sources import PACKAGE, ROOT
from diffbench.runtime import file_lock
from diffbench.runtime.files import read_json, sha256, write_json
from diffbench.runtime.places import REFERENCES, Places
from diffbench.tables import provenance


@cache
def _digest(path: Path, size: int, changed: int) -> str:
    return sha256(path)


def digest(name: str) -> str | None:
    """The SHA-256 of a file, or None if it is missing; read again only if its size or time changed.

    The package's own files are found where it is installed.
    """
    path = Path(name)
    if path.is_relative_to(ROOT):
        path = PACKAGE / path.relative_to(ROOT)
    try:
        facts = path.stat()
        return _digest(path.absolute(), facts.st_size, facts.st_mtime_ns)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}); fix it and run again") from None


class Graph:
    """The jobs of a run, who makes each file, and what is known of how it was made."""

    def __init__(self, params: Params):
        self.params, self.jobs = params, jobs(params)
        self.maker = {path: job for job in self.jobs for path in job.outputs}

    def find(self, command: str) -> Job | None:
        """The job with a command line, or None."""
        return next((job for job in self.jobs if job.command == command), None)

    def inputs(self, job: Job) -> list[str]:
        """The files a job reads."""
        return [path for name in job.inputs for path in self._files(name)]

    def _files(self, name: str) -> list[str]:
        """A declared input as files.

        A folder of records stands for the files that they describe, another folder of results for those that jobs make
        in it, and one of extensions for the files in it.
        """
        if Path(name).suffix:
            return [name]
        if Path(name) == REFERENCES:
            return sorted(path.as_posix() for path in Path(name).glob("*/tables/*.parquet"))
        if name.startswith(f"{Places(self.params.name).records}/"):
            own = [job for job in self.jobs if job.record.is_relative_to(name)]
            return [path for job in own for path in job.outputs if path != job.record.as_posix()]
        if name.startswith(("results/", "reports/")):
            return [path for path in self.maker if path.startswith(f"{name}/")]
        return [path.as_posix() for path in extension_files(Path(name).name)]

    def makers(self, job: Job) -> list[Job]:
        """The jobs whose files a job reads."""
        found = {maker.name: maker for path in self.inputs(job) if (maker := self.maker.get(path))}
        return list(found.values())

    def known(self, path: str) -> str | None:
        """The SHA-256 of an input; of sampled images that were deleted after scoring, what their record says."""
        found, maker = digest(path), self.maker.get(path)
        if found is None and maker and deletable(path) and maker.record.exists():
            return read_record(maker)["outputs"].get(path)
        return found

    def foreign(self, path: str) -> bool:
        """Whether a file is there and is not the one that its record describes."""
        found, maker = digest(path), self.maker[path]
        return found is not None and maker.record.exists() and read_record(maker)["outputs"].get(path) != found

    def made_from(self, job: Job) -> dict[str, Any]:
        """What a job would be made from now; the SHA-256 of a missing input is null."""
        values = {key: pick(self.params.raw, key) for key in job.keys}
        return {
            "command": job.command,
            "params": values,
            "inputs": {path: self.known(path) for path in self.inputs(job)},
        }

    def stale(self, job: Job) -> Iterator[str]:
        """Why a job's files are not what it would make now, one line each; nothing if they are."""
        if not job.record.exists():
            yield f"{job.record}: missing, so nothing says what {job.name} was made from"
            return
        record, now = read_record(job), self.made_from(job)
        for line in changes(record["params"], now["params"]):
            yield f"{job.name}: {line}"
        for path in sorted({*record["inputs"], *now["inputs"]}):
            if record["inputs"].get(path) != now["inputs"].get(path):
                yield f"{job.name}: {path} has changed since"
        for path, value in record["outputs"].items():
            found = digest(path)
            if found is None and not deletable(path):
                yield f"{path}: missing"
            elif found not in (None, value):
                yield f"{path}: is not what {job.name} wrote (damaged or replaced)"

    def check_inputs(self, job: Job) -> None:
        """Refuse inputs that are missing, damaged, or were made for other params.

        Raises:
            UserError: a line for each, with the way out.
        """
        again = f"'snakemake --cores all {self.params.name}' or 'dvc repro'"
        lines = []
        for path in self.inputs(job):
            maker, found = self.maker.get(path), digest(path)
            if found is None:
                lines.append(f"{path}: missing; {f'run {again} to make it' if maker else 'restore it'}")
            elif maker and maker.record.exists():
                record = read_record(maker)
                if record["outputs"].get(path) != found:
                    copy = engines.damaged_copy(path)
                    also = f" and DVC's copy of it, {copy}," if copy else ""
                    way = f"delete it{also} and run {again} again"
                    lines.append(f"{path}: is not what {maker.name} wrote (damaged or replaced); {way}")
                now = {key: pick(self.params.raw, key) for key in maker.keys}
                mend = mending(self.params, [maker])  # an engine without records takes such files for current
                lines += [f"{maker.name}: {line}; run {mend}" for line in changes(record["params"], now)]
        if lines:
            raise UserError("\n".join(dict.fromkeys(lines)))


def deletable(path: str) -> bool:
    """Whether a file may be deleted once it has been read: sampled images, the bulk of a run."""
    return lies_in(path, "samples") and path.endswith(".npz")


def mending(params: Params, first: list[Job]) -> str:
    """The command that makes jobs again with all that rests on them, even where an engine believes they are current."""
    few = len(first) <= 3
    if os.environ.get("DVC_STAGE"):
        one = f"'dvc repro --force --single-item {' '.join(job.name for job in first)}', then 'dvc repro'"
        return one if few else "'dvc repro --force'"
    rules = dict.fromkeys(job.name.split("@")[0].split("-")[0] for job in first)
    names = [job.record.as_posix() for job in first] if few else rules
    return f"'snakemake --cores all {params.name} --forcerun {' '.join(names)}'"


def read_record(job: Job) -> dict[str, Any]:
    """A job's record.

    Raises:
        UserError: missing or damaged.
    """
    record = read_json(job.record)
    if not (isinstance(record, dict) and {"params", "inputs", "outputs"} <= set(record)):
        raise UserError(f"{job.record}: damaged; delete it and run 'snakemake --cores all' again")
    return record


def changes(old: Any, new: Any, key: str = "") -> Iterator[str]:
    """The leaves in which two values of the params differ, one line each."""
    if old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted({*old, *new}, key=str):
            yield from changes(old.get(name), new.get(name), f"{key}.{name}" if key else str(name))
    else:
        yield f"{key} was {_short(old)} and is {_short(new)}"


def _short(value: Any) -> str:
    text = "absent" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def surroundings(params: Params, job: Job) -> dict[str, str]:
    """Commit, versions and device that a job ran with."""
    facts = provenance.circumstances()
    if "compute" in job.keys and "torch" in sys.modules:
        from diffbench.device import choose
        from diffbench.runtime.hardware import device_name

        facts["device"] = device_name(choose(params.compute))
    return facts


@contextmanager
def recording(params: Params, command: str) -> Iterator[bool]:
    """Run a job in this block: alone, on inputs that are whole, and with a record of what it was made from.

    Gives whether the job is still to be run: what a killed engine left running may just have made its files.

    Raises:
        UserError: an input is missing, damaged, or was made for other params.
    """
    if os.environ.get("DVC_STAGE"):
        dag.refuse_older()
        engines.refuse_beside_snakemake()
    graph = Graph(params)
    job = graph.find(command)
    if job is None:
        yield True
        return
    places = Places(params.name)
    with file_lock.waiting(places.locks / f"{job.name}.lock", job.name) as waited:
        graph.check_inputs(job)
        if waited and not list(graph.stale(job)):
            print(f"{job.name}: made by the process that was waited for")
            yield False
            return
        for maker in graph.makers(job):
            if maker.name.startswith("train@"):  # what is read has been accepted by an engine
                places.resume_point(maker.name.removeprefix("train@")).unlink(missing_ok=True)
        before = graph.made_from(job)  # what is read from here on; an edit while the job runs shows in the manifest
        yield True
        outputs = {path: sha256(Path(path)) for path in job.outputs if path != job.record.as_posix()}
        write_json(job.record, before | {"outputs": outputs, "ran with": surroundings(params, job)})
