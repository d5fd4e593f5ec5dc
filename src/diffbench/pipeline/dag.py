"""The source files in dvc.yaml, written from the imports of each stage.

Snakemake's rules ask for them each time; DVC reads a file. So that file is written by ``python -m diffbench dag
--write``, and a job that DVC runs refuses one that is older than the code.
"""

import re
from collections.abc import Iterator

from diffbench.config.presets import DAG
from diffbench.errors import UserError
from diffbench.pipeline.jobs import LAST, stage_of
from diffbench.pipeline.sources import extensions, is_source, is_stage, sources
from diffbench.runtime.files import replacing

STAGE = re.compile(r"  ([\w-]+):$")
ENTRY = "      - "


def _with_sources(lines: list[str]) -> Iterator[str]:
    """Lines of dvc.yaml with the sources at the end of each stage's dependencies."""
    stage, pending = "", None
    for line in [*lines, ""]:
        if pending is not None and not line.startswith("      "):  # the list of dependencies is over
            yield from (f"{ENTRY}{path}" for path in pending)
            pending = None
        if found := STAGE.match(line):
            stage = stage_of(found[1])
        if line.startswith("    deps:") and "*" not in line and stage != LAST and is_stage(stage):
            pending = [*sources(stage), *(path.as_posix() for path in extensions(stage))]
        if pending is None or not (line.startswith(ENTRY) and is_source(line.removeprefix(ENTRY))):
            yield line


def written(text: str) -> str:
    """The text of dvc.yaml with the sources that the code has now; all else stays."""
    return "\n".join(_with_sources(text.rstrip("\n").split("\n")))


def write() -> bool:
    """Bring dvc.yaml up to date; whether anything changed."""
    text = DAG.read_text(encoding="utf-8")
    if (new := written(text)) == text:
        return False
    with replacing(DAG) as temporary:
        temporary.write_text(new, encoding="utf-8")
    return True


def refuse_older() -> None:
    """Refuse a dvc.yaml that names other sources than the code has.

    Raises:
        UserError: it does.
    """
    text = DAG.read_text(encoding="utf-8")
    if written(text).rstrip() != text.rstrip():
        raise UserError(
            f"{DAG}: names other source files than the code has; run 'python -m diffbench dag --write' and the last "
            "command again"
        )
