"""Where the tables of runs lie: those made here, the committed references, any folder."""

from pathlib import Path

import pandas as pd

from diffbench.errors import UserError
from diffbench.runtime.places import REFERENCES, Places
from diffbench.tables import store

READS = ("cells", "claims", "claim_parts", "floors", "paradigms", "provenance", "training")


def reference_of(run: str, root: Path = REFERENCES) -> Path | None:
    """The folder of the committed reference made by the run of this name, the first by its own name; None without one.

    Raises:
        UserError: a reference's table of provenance is damaged or of another major schema.
    """
    for folder in sorted(path for path in root.glob("*") if (path / "tables/provenance.parquet").exists()):
        own = store.read(folder / "tables", "provenance")
        if (own[own["key"] == "run"]["value"] == run).any():
            return folder
    return None


def find(name: str) -> Path:
    """The folder of tables that a run's name, a reference's name or a path stands for.

    Raises:
        UserError: there is none.
    """
    path = Path(name)
    for folder in (Places(name).tables, REFERENCES / name / "tables", path / "tables", path):
        if (folder / "cells.parquet").exists():
            return folder
    raise UserError(
        f"{name}: no tables found; give the name of a run that has reports/<run>/tables, or a folder that holds tables"
    )


def read(folder: Path) -> dict[str, pd.DataFrame]:
    """The tables that a comparison reads.

    Raises:
        UserError: one is missing, damaged or of another major schema.
    """
    return {name: store.read(folder, name) for name in READS}
