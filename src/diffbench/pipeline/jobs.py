"""The jobs of a run as dvc.yaml declares them: command, inputs, tracked params and outputs of each.

Snakemake's rules say the same (a test compares them), so what a job rests on is read here from one of the two. Only the
source files are not: they are what the code imports now.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from itertools import product
from operator import getitem
from pathlib import Path
from typing import Any

from diffbench.config.models import Params
from diffbench.config.presets import DAG
from diffbench.pipeline.sources import extensions, is_source, is_stage, sources
from diffbench.runtime.yaml_file import read_yaml

LAST = "manifest"  # the stage that depends on everything and is described by its own output


@dataclass(frozen=True)
class Job:
    """One job: ``name`` is DVC's, ``inputs`` are files and folders, ``keys`` are dotted keys of the params."""

    name: str
    command: str
    inputs: tuple[str, ...]
    keys: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def record(self) -> Path:
        """The output that says what the others were made from."""
        return Path(next(path for path in self.outputs if lies_in(path, "records")))


def lies_in(path: str, kind: str) -> bool:
    """Whether a file lies in a folder of a run's results; a run or a row may be called as that folder is."""
    return Path(path).parts[2:3] == (kind,) and path.startswith("results/")


def pick(raw: dict, key: str) -> Any:
    """The value of a dotted key."""
    return reduce(getitem, key.split("."), raw)


def _filled(text: str, name: str, item: dict[str, Any]) -> str:
    def value(found: re.Match) -> str:
        return name if found[1] == "name" else str(item[found[1].removeprefix("item.")])

    return re.sub(r"\$\{([^}]+)\}", value, text)


def _paths(entries: list) -> Iterator[str]:
    """Paths of outputs or params, which stand alone or as the key of their options."""
    for entry in entries:
        yield from entry if isinstance(entry, dict) else [entry]


def stage_of(name: str) -> str:
    """The stage whose jobs a block of dvc.yaml declares: that of ``sample-native`` is ``sample``."""
    return name.split("-")[0]


def _stage(params: Params, name: str, stage: dict) -> Iterator[Job]:
    matrix = stage.get("matrix", {})
    kind = stage_of(name)
    code = [*sources(kind, params.data.source), *(folder.as_posix() for folder in extensions(kind))]
    read = [*(path for path in stage["deps"] if not is_source(path)), *code]
    axes = [list(pick(params.raw, values[2:-1])) for values in matrix.values()]
    for values in product(*axes):
        item = dict(zip(matrix, values, strict=True))
        suffix = "@" + "-".join(map(str, values)) if matrix else ""
        lists = {
            kind: tuple(_filled(path, params.name, item) for path in _paths(entries))
            for kind, entries in (
                ("inputs", read),
                ("keys", stage["params"]),
                ("outputs", [*stage["outs"], *stage.get("metrics", [])]),
            )
        }
        yield Job(name=name + suffix, command=_filled(stage["cmd"], params.name, item).strip(), **lists)


def jobs(params: Params) -> list[Job]:
    """Every job of a run but the last one, in dvc.yaml's order; stages of the user's own are none.

    Raises:
        UserError: dvc.yaml is missing or no YAML.
    """
    stages = read_yaml(DAG)["stages"]
    ours = {name: stage for name, stage in stages.items() if name != LAST and is_stage(stage_of(name))}
    return [job for name, stage in ours.items() for job in _stage(params, name, stage)]
