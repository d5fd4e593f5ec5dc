"""The last stage: what a run consists of, and the handing of its state to the other engine.

Snakemake keeps what it knows in .snakemake, DVC in dvc.lock. Whichever ran, ``manifest`` tells the other that the
run's files are current, and it can do so truthfully only because it comes after everything else.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from diffbench.config.models import Params
from diffbench.config.presets import CLAIMS, PARAMS
from diffbench.errors import UserError
from diffbench.pipeline import folder_lock
from diffbench.pipeline.jobs import Job, jobs
from diffbench.pipeline.records import Graph, changes, damaged_copy, deletable, digest, mending
from diffbench.runs import load
from diffbench.runtime.files import read_json, sha256, write_json
from diffbench.runtime.places import Places
from diffbench.runtime.yaml_file import read_yaml
from diffbench.tables.provenance import commit, sources

# Without relink, which would copy every file anew; and, for which the command line has no word, where sampled images
# were deleted. A DVC killed while it wrote its lock file leaves half of one, which it refuses to read; all that it
# holds of a run is written here anew.
COMMIT = """
from pathlib import Path
from dvc.dvcfile import LOCK_FILE, Lockfile
from dvc.repo import Repo
from dvc.utils.serialize import ParseError
from dvc.utils.strictyaml import YAMLValidationError
repo = Repo()
try:
    Lockfile(repo, LOCK_FILE).load()
except (ParseError, YAMLValidationError):
    Path(LOCK_FILE).unlink()
repo.commit(force=True, allow_missing=True, relink=False)
"""
SHOWN = 20  # lines of differences that are printed


def outputs(params: Params) -> list[Path]:
    """Every declared output of a run but the manifest, in the order of the stages."""
    return [Path(path) for job in jobs(params) for path in job.outputs]


def claims_hash() -> str | None:
    """The SHA-256 of the claims file, an input like the params; None where there is none."""
    return sha256(CLAIMS) if CLAIMS.exists() else None


def stale(params: Params) -> tuple[list[str], list[Job]]:
    """Why results are not proved to be of the present params, code and data, and the first jobs to make again.

    The engines are not believed here: a command may have been given by hand, or params and code edited while jobs were
    running, which neither notices.
    """
    graph = Graph(params)
    found = {job.name: lines for job in graph.jobs if (lines := list(graph.stale(job)))}
    makers = {job.name: [maker.name for maker in graph.makers(job)] for job in graph.jobs if job.name in found}
    first = [job for job in graph.jobs if job.name in found and not any(name in found for name in makers[job.name])]
    return [line for own in found.values() for line in own], first


def first_lines(lines: list[str]) -> list[str]:
    """The first lines of many, and how many more there are."""
    return [*lines[:SHOWN], f"and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else lines


def write(params: Params) -> Path:
    """Write the manifest: a SHA-256 for each output, and the params and sources they rest on.

    Raises:
        UserError: an output is missing, or is not of the present params, code and data.
    """
    code = {"sources": sources(), "claims sha256": claims_hash()}  # before what proves them: see ``tell``
    lines, first = stale(params)
    if lines:
        raise UserError("\n".join([*first_lines(lines), f"nothing is taken for current; run {mending(params, first)}"]))
    graph, places = Graph(params), Places(params.name)
    write_json(
        places.manifest,
        {
            "run": params.name,
            "commit": commit(),
            "params": params.raw,
            **code,
            "files": {path: graph.known(path) for path in map(Path.as_posix, outputs(params))},
        },
    )
    return places.manifest


def _read(params: Params) -> dict[str, Any]:
    path = Places(params.name).manifest
    manifest = read_json(path)
    if not (isinstance(manifest, dict) and {"params", "sources", "files"} <= set(manifest)):
        raise UserError(f"{path}: not a manifest of this diffbench; run 'snakemake --cores all {params.name}'")
    return manifest


def edits(params: Params) -> list[str]:
    """The params, sources and claims that a run's manifest does not rest on, one line each.

    Raises:
        UserError: there is no manifest, or it is damaged.
    """
    manifest = _read(params)
    found = [f"params: {line}" for line in changes(manifest["params"], params.raw)]
    old, new = manifest["sources"], sources()
    found += [f"{name}: changed since the run" for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
    if manifest.get("claims sha256", claims_hash()) != claims_hash():
        found.append(f"{CLAIMS}: changed since the run")
    return found


def differences(params: Params) -> list[str]:
    """What no longer agrees with a run's manifest, one line each; empty if it verifies.

    Sampled images may be deleted after scoring, so their absence is no difference.

    Raises:
        UserError: there is no manifest, or it is damaged.
    """
    found, files = edits(params), _read(params)["files"]
    expected = {path.as_posix() for path in outputs(params)}
    found += [f"{name}: not in the manifest" for name in sorted(expected - set(files))]
    for name, expected_digest in files.items():
        is_now = digest(name)
        if is_now is None and not deletable(name):
            found.append(f"{name}: missing")
        elif is_now not in (None, expected_digest):
            copy = damaged_copy(name)
            also = f", and DVC's copy too: first delete {copy}" if copy else ""
            found.append(f"{name}: changed{also}")
    return found


def way_out(params: Params, found: list[str]) -> str:
    """The command that mends differences from a manifest."""
    if all(deletable(line.split(": ")[0]) for line in found):  # no remote and no cache has them: they stay behind
        return f"'python -m diffbench prune {params.name} --yes', which deletes images of another state, then adopt"
    first = stale(params)[1]
    return mending(params, first) if first else f"'snakemake --cores all {params.name}'"


def is_own(params: Params) -> bool:
    """Whether the run is the one params.yaml describes, which is the only one DVC knows."""
    return read_yaml(PARAMS).get("name") == params.name


def call(*arguments: str, name: str) -> None:
    """Run one of the engines by Python's arguments; its failure is ours.

    Raises:
        UserError: it failed.
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith("DVC_STAGE")}
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment)
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no output"]
        raise UserError(f"'{name}' failed: {last[0]}; mend what it names and give the last command again")


def tell_snakemake(params: Params) -> None:
    """Make Snakemake take the run's files for its own work of now."""
    if not Path("Snakefile").exists():
        return
    target = Places(params.name).manifest.as_posix()
    arguments = ["--touch", "--forceall", "--cores", "1", "--quiet", "all", "--nolock", "--", target]
    call("-m", "snakemake", *arguments, name=f"snakemake {' '.join(arguments)}")


def tell_dvc(params: Params) -> None:
    """Write the run's files into dvc.lock and the cache, where that applies; otherwise say why not."""
    if not is_own(params):
        return
    if not Path(".dvc").is_dir() or not Path(".git").exists():
        print("no DVC or Git repository here: dvc.lock is not written")
        return
    if shutil.which("git") is None:
        print("git is not installed: dvc.lock is not written")
        return
    with folder_lock.dvc_let_in():
        call("-c", COMMIT, name="the entry of results in dvc.lock")


def tell(params: Params, *engines: Callable[[Params], None]) -> None:
    """Tell engines that a run's files are current, and see that they were to the end.

    An engine reads params and code again, seconds after the manifest did: an edit in between would be taken for what
    the files were made from. Without a manifest either engine asks for one, which is refused until they are made anew.

    Raises:
        UserError: an engine failed, or something changed meanwhile.
    """
    for engine in engines:
        engine(params)
    if found := edits(load(params.name)):
        Places(params.name).manifest.unlink(missing_ok=True)
        raise UserError(
            "\n".join(
                [*first_lines(found), "edited while the other engine was told: not taken for current; run it again"]
            )
        )


def adopt(params: Params) -> None:
    """Tell both engines that a run's files are current, after checking that they are.

    For files that neither engine made here: after ``dvc pull``, or unpacked from another machine.

    Raises:
        UserError: the run does not agree with its manifest.
    """
    folder_lock.refuse_beside_snakemake()
    found = differences(params)
    if found:
        end = f"not adopted: {len(found)} differences; run {way_out(params, found)}"
        raise UserError("\n".join([*first_lines(found), end]))
    tell(params, tell_snakemake, tell_dvc)
