"""Clones of the working tree in which real Snakemake and DVC processes run."""

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

import yaml
from conftest import ROOT

CLOCKED = re.compile(  # files of a run that hold readings of a clock, or rest on some
    r"results/smoke/(records/.*|locks/.*|manifest\.json|samples/.*\.json|(train|evaluate)/.*cost\.json)"
    r"|reports/smoke/(report\.html|tables/(cost|provenance)\.\w+)"
)
KEPT = (
    "Snakefile", "dvc.yaml", "params.yaml", "workflow", "profiles", "src", "reports/reference", ".dvc", ".dvcignore",
    ".gitignore",
)  # fmt: skip


def environment(clone: Path) -> dict[str, str]:
    """Variables with which the package is taken from a clone, not from where it is installed."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "SNAKEMAKE_"))}
    return kept | {"PYTHONPATH": str(clone / "src"), "DVC_NO_ANALYTICS": "1"}


def run(*command: str, cwd: Path, code: int = 0) -> str:
    """What a command says in a clone; its exit code must be ``code``."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environment(cwd), timeout=600)
    output = done.stdout + done.stderr
    assert done.returncode == code, output[-4000:]
    return output


def planned(clone: Path, run_name: str = "smoke") -> dict[str, int]:
    """The jobs ``snakemake -n`` plans, by rule."""
    output = run("snakemake", "--cores", "1", "-n", run_name, cwd=clone)
    table = re.search(r"job\s+count\n-+\s+-+\n(.*?)\ntotal", output, re.DOTALL)
    if table is None:
        assert "Nothing to be done" in output, output[-2000:]
        return {}
    return {name: int(count) for name, count in (line.split() for line in table[1].splitlines() if line.strip())}


def edit(clone: Path, old: str, new: str) -> None:
    text = (clone / "params.yaml").read_text()
    assert text.count(old) == 1, old
    (clone / "params.yaml").write_text(text.replace(old, new))


def edit_params(clone: Path, key: str, value: object) -> None:
    """Set a dotted key of a clone's params.yaml."""
    path = clone / "params.yaml"
    params = yaml.safe_load(path.read_text())
    *parents, last = key.split(".")
    node = params
    for name in parents:
        node = node[name]
    node[last] = value
    path.write_text(yaml.safe_dump(params, sort_keys=False))


def cloned(folder: Path) -> Path:
    """A committed clone of the working tree, with the shipped params."""
    folder.mkdir()
    for name in KEPT:
        source = ROOT / name
        ignore = shutil.ignore_patterns("__pycache__", "cache", "tmp", "*.egg-info")
        shutil.copytree(source, folder / name, ignore=ignore) if source.is_dir() else shutil.copy(source, folder / name)
    shutil.copy(ROOT / "workflow/presets/mnist.yaml", folder / "params.yaml")
    for command in (
        ["init", "-q"],
        ["config", "user.email", "test@example.org"],
        ["config", "user.name", "test"],
        ["add", "-A"],
        ["commit", "-qm", "clone"],
    ):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


def fresh(finished, tmp_path: Path) -> Path:
    """A copy of a finished clone, to change at will."""
    clone = tmp_path / "clone"
    shutil.copytree(finished[0], clone, symlinks=True)
    return clone


def steady(clone: Path) -> dict[str, str]:
    """The files of a smoke run that must come out the same whenever and wherever on a machine it is made.

    Their SHA-256, and of the provenance what is not the commit.
    """
    found = {}
    for folder in ("results/smoke", "reports/smoke"):
        for path in sorted((clone / folder).rglob("*")):
            name = path.relative_to(clone).as_posix()
            if path.is_file() and not path.name.startswith(".") and not CLOCKED.fullmatch(name):
                found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    rows = (clone / "reports/smoke/tables/provenance.csv").read_text().splitlines()
    return found | {"provenance": "\n".join(row for row in rows if not row.startswith("commit,"))}


def differing(one: dict[str, str], other: dict[str, str]) -> list[str]:
    """Names that two mappings do not share with the same value."""
    return sorted(name for name in {*one, *other} if one.get(name) != other.get(name))
