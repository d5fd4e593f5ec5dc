"""A comparison as the terminal shows it."""

import math
from pathlib import Path

import numpy as np
import pandas as pd

from diffbench.compare import Comparison, frames
from diffbench.compare.cells import DIFFER, cell_name
from diffbench.compare.locate import find, read, reference_of
from diffbench.errors import UserError
from diffbench.runtime.files import replacing
from diffbench.runtime.places import REFERENCES
from diffbench.tables import store


def _text(value: float, scale: str = "difference") -> str:
    if pd.isna(value):
        return "-"
    return f"x{value:.3f}" if scale == "ratio" else f"{value:+.4f}"


def _plain(value: float, digits: int = 4) -> str:
    return "-" if pd.isna(value) else f"{value:.{digits}g}"


def _table(header: list[str], rows: list[list[str]]) -> list[str]:
    """Lines of a table with aligned columns."""
    widths = [max(len(row[place]) for row in [header, *rows]) for place in range(len(header))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in [header, ["-" * width for width in widths], *rows]]  # fmt: skip


def _cut(value: str, width: int = 44) -> str:
    return value if len(value) <= width else f"{value[: width - 3]}..."


BY_ROW = ("row", "metric", "cells", "median", "most", "outside 95%", "differ", "not tested")


def by_row(cells: pd.DataFrame) -> list[list[str]]:
    """For each row of params and metric in which anything differs, how far its cells lie apart: columns BY_ROW."""
    rows = []
    for (paradigm, metric), own in cells[cells.metric != ""].groupby(["paradigm", "metric"], sort=False):
        if (own.says == "same").all():
            continue
        scale = own.scale.iloc[0]
        size = (np.log(own.effect) if scale == "ratio" else own.effect).abs()
        most = own.effect[size.idxmax()] if size.notna().any() else math.nan
        counts = own.says.value_counts()
        others = [f"{n} {says}" for says, n in counts.items() if says not in ("same", "agrees", "differs")]
        outside = own.outside.dropna()
        rows.append(
            [paradigm, metric, str(len(own)), _text(own.effect.median(), scale), _text(most, scale),
             f"{int(outside.sum())} of {len(outside)}" if len(outside) else "-", str(int(counts.get("differs", 0))),
             ", ".join(others)]
        )  # fmt: skip
    return rows


def _cell_lines(cells: pd.DataFrame) -> list[str]:
    """A line for each cell and metric."""
    rows = []
    for row in cells.to_dict("records"):
        scale, ends = row["scale"], (row["low"], row["high"])
        rows.append(
            [cell_name(row), row["metric"] or "all", _plain(row["left"]), _plain(row["right"]),
             _text(row["effect"], scale),
             "-" if pd.isna(ends[0]) else " to ".join(_text(end, scale) for end in ends),
             _plain(row["p_adjusted"], 2), row["says"]]
        )  # fmt: skip
    return _table(["cell", "metric", "left", "right", "effect", "95% interval", "p adjusted", "says"], rows)


def _claim_lines(claims: pd.DataFrame) -> list[str]:
    rows = [[str(row["number"]), row["claim"], row["left"] or "-", row["right"] or "-", row["says"]]
            for row in claims.to_dict("records")]  # fmt: skip
    return _table(["", "claim", "left", "right", "says"], rows)


def text(found: Comparison, left: str, right: str, every: bool = False) -> str:
    """A comparison as the terminal shows it; ``every`` lists all cells, not only those that differ."""
    lines = [f"left:  {left}", f"right: {right}", ""]
    if len(found.provenance):
        rows = [[row["key"], _cut(row["left"]), _cut(row["right"])] for row in found.provenance.to_dict("records")]
        lines += [*_table(["differs in", "left", "right"], rows), ""]
    if len(found.cells):
        rows = by_row(found.cells)
        lines += [*_table(list(BY_ROW), rows), ""] if rows else []
        shown = found.cells if every else found.cells[found.cells.says.isin(DIFFER)]
        if len(shown):
            lines += [*_cell_lines(shown), ""]
    lines += [*_claim_lines(found.claims), ""]
    lines += [f"note: {note}" for note in found.notes]
    return "\n".join([*lines, found.summary])


def run(left: str, right: str | None, csv: Path | None = None, every: bool = False) -> bool:
    """Compare two runs, or a run with its committed reference, print the result and return whether they agree.

    Args:
        left: a run's name, or a folder of tables.
        right: the same; None for the committed reference of the run ``left``.
        csv: where to write the table of cells.
        every: print every cell.

    Raises:
        UserError: tables are missing, damaged or of another major schema, there is no reference, or nothing that the
            two share can be tested.
    """
    first = find(left)
    if right is None:
        own = store.read(first, "provenance")
        name = own[own["key"] == "run"]["value"].astype(str).iloc[0]
        reference = reference_of(name)
        if reference is None:
            raise UserError(f"{left}: no reference of the run {name} under {REFERENCES}; name what to compare it with")
        second = reference / "tables"
    else:
        second = find(right)
    found = frames(read(first), read(second))
    if csv is not None:
        with replacing(csv) as temporary:
            found.cells.to_csv(temporary, index=False, lineterminator="\n")
    if found.agrees is None:
        why = f": {'; '.join(found.notes)}" if found.notes else ""
        raise UserError(f"{left} and {right or second.parent}: nothing could be tested{why}")
    print(text(found, str(first), str(second), every))
    return found.agrees
