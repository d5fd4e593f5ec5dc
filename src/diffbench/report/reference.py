"""The run held against the committed reference of the same name, where there is one."""

from pathlib import Path

import pandas as pd

from diffbench.compare import frames as compare
from diffbench.compare.locate import read, reference_of
from diffbench.compare.terminal import BY_ROW, by_row
from diffbench.config.models import Params
from diffbench.tables import store


def is_copy(frames: dict[str, pd.DataFrame], folder: Path) -> bool:
    """Whether a folder of tables is a run's own: a clock never gives the same twice, so equal cost says so."""
    return (folder / "cost.parquet").exists() and all(
        frames[name].astype(str).equals(store.read(folder, name).astype(str)) for name in ("cost", "provenance")
    )


def against(frames: dict[str, pd.DataFrame], params: Params) -> dict | None:
    """What the section on provenance shows of the comparison; None without a reference.

    Raises:
        UserError: the reference's tables are missing, damaged or of another major schema.
    """
    folder = reference_of(params.name)
    if folder is None:
        return None
    if is_copy(frames, folder / "tables"):
        return {"name": folder.name, "own": True}
    found = compare(frames, read(folder / "tables"))
    undecided = ("agrees", "both undecided")
    return {
        "name": folder.name,
        "own": False,
        "agrees": found.agrees,
        "summary": found.summary,
        "notes": found.notes,
        "header": BY_ROW,
        "rows": by_row(found.cells),
        "claims": found.claims[~found.claims.says.isin(undecided)].to_dict("records"),
        "facts": found.provenance.to_dict("records"),
    }
