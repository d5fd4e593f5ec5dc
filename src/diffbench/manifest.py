"""The last stage: what a run consists of, and the handing of its state to the other engine.

Snakemake keeps what it knows in .snakemake, DVC in dvc.lock. Whichever ran, ``manifest`` tells the other that the
run's files are current, and it can do so truthfully only because it comes after everything else.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from . import tables
from .config import CLAIMS, PARAMS, Params, read_yaml
from .errors import UserError
from .files import Places, read_json, sha256, write_json
from .provenance import commit, params_hash, source_hash


def outputs(params: Params) -> list[Path]:
    """Every declared output of a run but the manifest, in the order of the stages."""
    places = Places(params.name)
    paths = [
        places.data,
        places.data_facts,
        places.classifier,
        places.classifier_facts,
        places.reference,
        places.floors,
    ]
    for paradigm in params.paradigms:
        for seed in params.seeds:
            trained = places.train(paradigm, seed)
            names = ("model.safetensors", "snapshots.safetensors", "history.json", "cost.json")
            paths += [trained / name for name in names]
            for steps in params.step_values(paradigm):
                path = places.samples(paradigm, seed, steps)
                paths += [path, path.with_suffix(".json")]
            path = places.evaluation(paradigm, seed)
            paths += [path, path.with_suffix(".png"), places.clock(paradigm, seed), places.failures(paradigm, seed)]
            probed = places.probe(paradigm, seed)
            paths += [places.convergence(paradigm, seed), probed, probed.with_suffix(".png")]
    return [*paths, *tables.files(places.tables), places.metrics, places.report]


def claims_hash() -> str | None:
    """The SHA-256 of the claims file, an input like the params; None where there is none."""
    return sha256(CLAIMS) if CLAIMS.exists() else None


def write(params: Params) -> Path:
    """Write the manifest: a SHA-256 for each output, and the hashes of params and source they rest on.

    Raises:
        UserError: an output is missing.
    """
    paths = outputs(params)
    missing = [path for path in paths if not path.exists()]
    if missing:
        raise UserError(
            f"{missing[0]}: missing, with {len(missing) - 1} more; run 'snakemake --cores all {params.name}'"
        )
    places = Places(params.name)
    write_json(
        places.manifest,
        {
            "run": params.name,
            "commit": commit(),
            "params sha256": params_hash(params.raw),
            "source sha256": source_hash(),
            "claims sha256": claims_hash(),
            "files": {path.as_posix(): sha256(path) for path in paths},
        },
    )
    return places.manifest


def differences(params: Params) -> list[str]:
    """What no longer agrees with a run's manifest, one line each; empty if it verifies.

    Raises:
        UserError: there is no manifest, or it is damaged.
    """
    manifest = read_json(Places(params.name).manifest)
    found = []
    if manifest["params sha256"] != params_hash(params.raw):
        found.append("params: changed since the run")
    if manifest["source sha256"] != source_hash():
        found.append("src/diffbench or workflow/extensions: changed since the run")
    if manifest.get("claims sha256", claims_hash()) != claims_hash():
        found.append(f"{CLAIMS}: changed since the run")
    files = manifest["files"]
    expected = {path.as_posix() for path in outputs(params)}
    found += [f"{name}: not in the manifest" for name in sorted(expected - set(files))]
    for name, digest in files.items():
        path = Path(name)
        if not path.exists():
            found.append(f"{name}: missing")
        elif sha256(path) != digest:
            found.append(f"{name}: changed")
    return found


def is_own(params: Params) -> bool:
    """Whether the run is the one params.yaml describes, which is the only one DVC knows."""
    return read_yaml(PARAMS).get("name") == params.name


def call(*command: str) -> None:
    """Run one of the engines; its failure is ours.

    Raises:
        UserError: it failed.
    """
    module, *arguments = command
    environment = {key: value for key, value in os.environ.items() if not key.startswith("DVC_STAGE")}
    done = subprocess.run([sys.executable, "-m", module, *arguments], capture_output=True, text=True, env=environment)
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no output"]
        raise UserError(f"'{' '.join(command)}' failed: {last[0]}; run it by hand to see why")


def tell_snakemake(run: str) -> None:
    """Make Snakemake take the run's files for its own work of now."""
    if not Path("Snakefile").exists():
        return
    target = Places(run).manifest.as_posix()
    call("snakemake", "--touch", "--forceall", "--cores", "1", "--quiet", "all", "--nolock", "--", target)


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
    call("dvc", "commit", "--force", "--no-relink", "--quiet")


def run(params: Params) -> None:
    """The manifest stage, called by either engine."""
    path = write(params)
    print(f"wrote {path}")
    if os.environ.get("DVC_STAGE"):
        tell_snakemake(params.name)
    else:
        tell_dvc(params)


def adopt(params: Params) -> None:
    """Tell both engines that a run's files are current, after checking that they are.

    For files that neither engine made here: after ``dvc pull``, or unpacked from another machine.

    Raises:
        UserError: the run does not agree with its manifest.
    """
    found = differences(params)
    if found:
        lines = "\n".join(found[:20])
        raise UserError(
            f"{lines}\nnot adopted: {len(found)} differences; 'snakemake --cores all {params.name}' mends them"
        )
    tell_snakemake(params.name)
    tell_dvc(params)
