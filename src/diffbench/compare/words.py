"""A comparison in words: what one side lacks, and the whole in one line."""

from collections.abc import Iterable

import pandas as pd

from diffbench.compare.cells import KEY, METRICS, cell_name


def _count(number: int, singular: str, plural: str | None = None) -> str:
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def _named(names: Iterable[str], most: int = 6) -> str:
    names = list(names)
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def missing(cells: pd.DataFrame, left: pd.DataFrame, right: pd.DataFrame) -> list[str]:
    """Rows, cells and metrics that one side lacks, in words."""
    notes = []
    sides = (("only left", left, right, "right"), ("only right", right, left, "left"))
    for says, own, other, lacks in sides:
        rows = sorted(set(own.paradigm) - set(other.paradigm))
        if rows:
            notes.append(f"rows that the {lacks} run lacks: {', '.join(rows)}")
        gone = cells[(cells.says == says) & (cells.metric == "") & ~cells.paradigm.isin(rows)].to_dict("records")
        if gone:
            notes.append(f"{_count(len(gone), 'cell')} that the {lacks} run lacks: {_named(map(cell_name, gone))}")
        parts = cells[(cells.says == says) & (cells.metric != "")].to_dict("records")
        if parts:
            said = _named(f"{row['metric']} of {cell_name(row)}" for row in parts)
            notes.append(f"{_count(len(parts), 'value')} that the {lacks} run lacks: {said}")
    for metric in METRICS:
        lacking = [name for name, own in (("left", left), ("right", right)) if metric.name not in own]
        if lacking:
            notes.append(f"the tables of the {' and the '.join(lacking)} run have no column {metric.name}")
    return notes


def partly_failed(side: pd.DataFrame, name: str) -> list[str]:
    """The rows of one side whose training or samples failed, with their seeds, in words."""
    failed = side[side.status != "ok"].groupby("paradigm").seed.unique()
    return [f"failed on the {name}: {row}, seed {', '.join(map(str, sorted(own)))}" for row, own in failed.items()]


def summary(cells: pd.DataFrame, claims: pd.DataFrame, agrees: bool | None) -> str:
    """The comparison in one line, with its figures."""
    if agrees is None:
        return "nothing could be tested"
    clauses = []
    tested = cells[cells.outside.notna()]
    compared = cells[cells.says.isin(["same", "agrees", "differs"])]
    count = len(compared[list(KEY)].drop_duplicates())
    if len(compared) and (compared.says == "same").all():
        clauses.append(f"all {len(compared):,} values of {_count(count, 'cell')} are the same to the last digit")
    elif len(compared):
        found = _count(int((cells.says == "differs").sum()), "value")
        clauses.append(f"{found} of {len(compared):,} in {_count(count, 'cell')} differ by more than seed noise")
        if len(tested):
            share = 100 * float(tested.outside.mean())
            clauses.append(f"{share:.1f}% of {len(tested):,} lie outside their own 95% interval, where 5% are expected")
    one_sided = int(cells.says.isin(["failed left", "failed right"]).sum())
    if one_sided:
        clauses.append(f"{_count(one_sided, 'cell')} failed on one side only")
    says = claims.says.value_counts()
    decided = int(says.get("agrees", 0) + says.get("both can be right", 0) + says.get("disagrees", 0))
    clauses.append(f"{int(says.get('disagrees', 0))} of {_count(decided, 'claim')} decided by both disagree")
    word = "agree within seed noise" if agrees else "disagree"
    return f"the runs {word}: {'; '.join(clauses)}"
