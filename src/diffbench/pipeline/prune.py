"""Files of a run that nothing needs any more; DVC would hash them, and they fill the disk."""

import re
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

from diffbench.config.models import Params
from diffbench.pipeline import engines
from diffbench.pipeline.disk import gib
from diffbench.pipeline.manifest import differences, tell
from diffbench.pipeline.records import Graph, deletable
from diffbench.runtime.places import Places

WRITING = 3600  # seconds after which nobody still writes a file
KEPT = {".snakemake_timestamp"}
TEMPORARY = re.compile(r"\.[^/]+\.(\d+)\.\w+$")  # as files.replacing names them


def _abandoned(path: Path) -> bool:
    """Whether a file is one that a process was writing when it was killed; its job may run on another machine."""
    found = TEMPORARY.match(path.name)
    return bool(found) and not Path(f"/proc/{found[1]}").exists() and time.time() - path.stat().st_mtime > WRITING


def unneeded(params: Params) -> Iterator[tuple[Path, str]]:
    """Files that params no longer ask for, or that a killed process left, and why each may go."""
    places, graph = Places(params.name), Graph(params)
    wanted = {places.manifest, *map(Path, graph.maker)}
    wanted |= {places.tuning(paradigm) for paradigm in params.paradigms}
    trainings = {
        (paradigm, seed): places.train(paradigm, seed) for paradigm in params.paradigms for seed in params.seeds
    }
    unfinished = {
        places.resume_point(f"{paradigm}-{seed}")
        for (paradigm, seed), folder in trainings.items()
        if not (folder / "history.json").exists()
    }
    locks = {places.locks / f"{job.name}.lock" for job in graph.jobs}
    for path in sorted(wanted):
        if deletable(path.as_posix()) and graph.foreign(path.as_posix()):
            yield path, "images of another state than the results, as after a checkout"
    for folder in (places.results, places.tables):
        for path in sorted(folder.rglob("*")):
            if not path.is_file() or path in wanted | unfinished | locks or path.name in KEPT:
                continue
            if TEMPORARY.match(path.name):
                if _abandoned(path):
                    yield path, "half-written by a process that was killed"
            elif path.parent == places.checkpoints:
                yield path, "resume point of a training that is finished or no longer asked for"
            else:
                yield path, "no longer asked for by the params"


def prune(params: Params, delete: bool) -> None:
    """List what nothing needs, or delete it with the folders that it leaves empty.

    DVC hashes folders with all that lies in them, so it is told of a run that is complete without what was deleted.

    Raises:
        UserError: Snakemake is at work here.
    """
    with engines.without_snakemake() if delete else nullcontext():
        found, size = list(unneeded(params)), 0
        for path, why in found:
            size += path.stat().st_size
            print(f"{'deleted' if delete else 'would delete'} {path}: {why}")
            if delete:
                path.unlink()
        if delete:
            _delete_empty(Places(params.name).results)
            if Places(params.name).manifest.exists() and not differences(params):
                tell(params, engines.tell_dvc)
    end = "" if delete or not found else f"; 'python -m diffbench prune {params.name} --yes' deletes them"
    print(f"{len(found)} files, {gib(size)}{end}")


def _delete_empty(top: Path) -> None:
    """Delete the folders below one that hold nothing but Snakemake's mark."""
    for folder in sorted(top.rglob("*"), reverse=True):
        if folder.is_dir() and {path.name for path in folder.iterdir()} <= KEPT:
            for path in folder.iterdir():
                path.unlink()
            folder.rmdir()
