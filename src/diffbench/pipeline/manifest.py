"""The last stage: what a run consists of, and the handing of its state to the other engine.

Snakemake keeps what it knows in .snakemake, DVC in dvc.lock. Whichever ran, ``manifest`` tells the other that the
run's files are current, and it can do so truthfully only because it comes after everything else.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from diffbench.config.models import Params
from diffbench.config.presets import CLAIMS
from diffbench.errors import UserError
from diffbench.pipeline import engines
from diffbench.pipeline.jobs import Job, jobs
from diffbench.pipeline.records import Graph, changes, deletable, digest, mending
from diffbench.runs import load
from diffbench.runtime.files import read_json, sha256, write_json
from diffbench.runtime.places import Places
from diffbench.tables.provenance import commit, sources

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
        raise UserError(
            f"{path}: not a manifest of this diffbench; delete it and run 'snakemake --cores all {params.name}'"
        )
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
            copy = engines.damaged_copy(name)
            also = f", and DVC's copy too: first delete {copy}" if copy else ""
            found.append(f"{name}: changed{also}")
    return found


def way_out(params: Params, found: list[str]) -> str:
    """The command that mends differences from a manifest, also where Snakemake has no records of the run."""
    if all(deletable(line.split(": ")[0]) for line in found):  # no remote and no cache has them: they stay behind
        return f"'python -m diffbench prune {params.name} --yes', which deletes images of another state, then adopt"
    first = stale(params)[1]
    again = f"'snakemake --cores all {params.name} --forcerun {Places(params.name).manifest}'"
    return mending(params, first) if first else again


def tell(params: Params, *tellers: Callable[[Params], str]) -> list[str]:
    """Tell engines that a run's files are current, and see that they were to the end; gives the names of those told.

    An engine reads params and code again, seconds after the manifest did: an edit in between would be taken for what
    the files were made from. Without a manifest either engine asks for one, which is refused until they are made anew.

    Raises:
        UserError: an engine failed, or something changed meanwhile.
    """
    told = [name for teller in tellers if (name := teller(params))]
    if found := edits(load(params.name)):
        Places(params.name).manifest.unlink(missing_ok=True)
        raise UserError(
            "\n".join(
                [*first_lines(found), "edited while the other engine was told: not taken for current; run it again"]
            )
        )
    return told


def adopt(params: Params) -> list[str]:
    """Tell both engines that a run's files are current, after checking that they are; gives the names of those told.

    For files that neither engine made here: after ``dvc pull``, or unpacked from another machine.

    Raises:
        UserError: the run does not agree with its manifest.
    """
    with engines.without_snakemake():
        found = differences(params)
        if found:
            end = f"not adopted: {len(found)} differences; run {way_out(params, found)}"
            raise UserError("\n".join([*first_lines(found), end]))
        return tell(params, engines.tell_snakemake, engines.tell_dvc)
