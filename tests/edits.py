"""Edit params one key at a time, and compare what Snakemake and DVC would run again.

    python tests/edits.py

Nothing but one smoke run is run: after each edit Snakemake plans, and DVC says which of its stages changed, to which
its graph adds what follows from them. An edit that params do not allow must stop Snakemake too. Exits 1 where the plans
differ. Takes a quarter of an hour.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from clones import cloned, edit_params, environment, planned, run

OTHERS = {  # another value of each word
    "cpu": "auto", "float32": "bf16", "bf16": "float32", "eps": "v", "v": "eps", "velocity": "v",
    "uniform": "logit-normal", "logit-normal": "uniform", "vp-linear": "vp-scaled-linear",
    "vp-scaled-linear": "vp-linear", "recipe": "bridge", "step": "ratio", "leading": "trailing", "ddim": "heun",
    "ancestral": "ddim", "euler": "heun", "default": [1, 2], "dit": "mmdit",
}  # fmt: skip
CHANGED = """
import json
import networkx
from dvc.repo import Repo
repo = Repo(".")
graph = repo.index.graph
stages = {stage.addressing: stage for stage in graph}
found = [stages[name] for name in repo.status() if name in stages]
following = set(found).union(*(networkx.ancestors(graph, stage) for stage in found))
print(json.dumps(sorted(stage.addressing for stage in following)))
"""


def other(value: Any) -> Any:
    """Another value of the kind, or None where there is none to think of."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value / 2 if value else 0.1
    if isinstance(value, list):
        return value[:-1] if len(value) > 1 else None
    return OTHERS.get(value, f"{value} 2") if isinstance(value, str) else None


def leaves(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Dotted keys and values of nested mappings."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from leaves(value, (*path, str(key)))
    else:
        yield ".".join(path), node


def every_edit(params: dict) -> dict[str, Any]:
    """Another value by dotted key, for each key that has one."""
    found = {key: other(value) for key, value in leaves(params) if key != "name"}
    return {key: value for key, value in found.items() if value is not None}


def dvc_plan(clone: Path) -> dict[str, int]:
    """The jobs DVC would run, by Snakemake's names of rules."""
    done = subprocess.run(
        [sys.executable, "-c", CHANGED], cwd=clone, env=environment(clone), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    names = (name.split(":")[-1].split("@")[0] for name in json.loads(done.stdout.splitlines()[-1]))
    return dict(Counter(re.sub("^sample-.*", "sample", name) for name in names))


def plans(clone: Path, key: str, value: Any) -> tuple[dict[str, int], dict[str, int]] | None:
    """What Snakemake and DVC would run in a finished clone after an edit, then taken back; None if it is refused."""
    before = (clone / "params.yaml").read_bytes()
    edit_params(clone, key, value)
    try:
        check = [sys.executable, "-m", "diffbench", "params"]
        if subprocess.run(check, cwd=clone, env=environment(clone), capture_output=True).returncode:
            run("snakemake", "--cores", "1", "-n", "smoke", cwd=clone, code=2)
            return None
        snakemake = planned(clone)
        snakemake.pop("smoke", None)  # the target, which is no job
        return snakemake, dvc_plan(clone)
    finally:
        (clone / "params.yaml").write_bytes(before)


def main() -> int:
    """Try every edit and print what it makes the engines run."""
    differing = 0
    with tempfile.TemporaryDirectory() as folder:
        clone = cloned(Path(folder) / "clone")
        run(sys.executable, "-m", "diffbench", "params", "--preset", "smoke", "--write", cwd=clone)
        run("snakemake", "--cores", "2", cwd=clone)
        for key, value in every_edit(yaml.safe_load((clone / "params.yaml").read_text())).items():
            found = plans(clone, key, value)
            same = found is None or found[0] == found[1]
            differing += not same
            said = "refused" if found is None else " ".join(f"{name} {n}" for name, n in found[0].items())
            print(
                f"{key}: {json.dumps(value)}: {said or 'nothing'}" + ("" if same else f"; DVC: {found[1]}"), flush=True
            )
    print(f"{differing} edits on which the engines differ")
    return int(differing > 0)


if __name__ == "__main__":
    sys.exit(main())
