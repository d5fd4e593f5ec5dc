"""The headline: what the tables say, in one sentence made from them."""

import math

import numpy as np
import pandas as pd

from diffbench.config.models import Params
from diffbench.runtime.places import Places
from diffbench.tables import schema, store
from diffbench.tables.intervals import interval

DASH = "\u2013"


def number(value: float, digits: int = 3) -> str:
    """A number with ``digits`` significant digits and no exponent, or an en dash where there is none."""
    if value is None or pd.isna(value):
        return DASH
    if value == 0:
        return "0"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(places, 6)}f}"


def cell_seeds(paradigm: pd.Series, cells: pd.DataFrame, which: str = "best_") -> pd.Series:
    """FID by seed of a paradigm's best cell, empty if it has none.

    Args:
        paradigm: a row of the table paradigms.
        which: "few_" for its best cell of few evaluations.
    """
    if pd.isna(paradigm[f"{which}fid"]):
        return pd.Series(dtype=float)
    guidance = 0.0 if pd.isna(paradigm.guidance) else paradigm.guidance
    rows = cells[
        (cells.paradigm == paradigm.paradigm)
        & (cells.sampler == paradigm[f"{which}sampler"])
        & (cells.steps == paradigm[f"{which}steps"])
        & (cells.guidance == guidance)
        & (cells.status == "ok")
        & (cells.arm == "")
    ]
    return rows.set_index("seed").fid.astype(float)


def unproved(leader: pd.Series, other: pd.Series) -> bool | None:
    """Whether seeds leave open which of two is better; None with fewer than two seeds.

    They do where the 95% t interval of the paired log ratio of FID holds 0, which is no proof that the two are alike.
    """
    seeds = leader.index.intersection(other.index)
    if len(seeds) < 2:
        return None
    ratio = np.log(other[seeds].to_numpy(float).clip(1e-12)) - np.log(leader[seeds].to_numpy(float).clip(1e-12))
    low, high = interval(ratio)
    return low <= 0 <= high


def join(names: list[str]) -> str:
    """Names as "A", "A and B" or "A, B and C"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def competing(paradigms: pd.DataFrame) -> pd.DataFrame:
    """The rows that may be called best: they have samples, are there for more than one factor, and do not copy."""
    rows = paradigms[paradigms.best_fid.notna() & paradigms.role.ne("factor").fillna(True)]
    return rows[~rows.copies.fillna(False).astype(bool)]


def headline(paradigms: pd.DataFrame, cells: pd.DataFrame, floors: pd.DataFrame) -> str:
    """The first sentence of the report.

    Unconditional rows do not compete: they answer another question and have no guidance to choose. Nor can a row on one
    seed lead those on several, or it would leave undecided what they decide; it is named instead.
    """
    rows = competing(paradigms)
    rivals = rows[rows.conditional.astype(bool)] if rows.conditional.any() else rows
    if rivals.empty:
        return "No paradigm gave samples: every training failed."
    single = [len(cell_seeds(row, cells)) < 2 for _, row in rivals.iterrows()]
    rivals = rivals.assign(_single=single).sort_values(["_single", "best_fid"])
    leader = rivals.iloc[0]
    floor = f"real test digits score {number(store.real_test_row(floors).fid)}"
    own = cell_seeds(leader, cells)
    verdicts = {row.paradigm: unproved(own, cell_seeds(row, cells)) for _, row in rivals.iloc[1:].iterrows()}
    where = f"FID {number(leader.best_fid)} with {int(leader.best_nfe)} network evaluations"
    open_ = [key for key, verdict in verdicts.items() if verdict is None]
    if verdicts and len(open_) == len(verdicts):
        lowest = f"{leader.label} has the lowest FID, {number(leader.best_fid)}"
        reason = "on one seed" if len(own) < 2 else "but shares fewer than two seeds with any other row"
        return f"{lowest}, {reason}, which decides nothing; {floor}."
    undecided = ""
    if open_:
        names = join(list(rivals[rivals.paradigm.isin(open_)].label))
        undecided = f"; {names} {'have' if len(open_) > 1 else 'has'} too few seeds to compare"
    near = rivals[rivals.paradigm.isin([key for key, verdict in verdicts.items() if verdict])]
    if near.empty:
        return f"{leader.label} comes closest to the real digits: {where}; {floor}{undecided}."
    others = join([f"{row.label} ({number(row.best_fid)})" for _, row in near.iterrows()])
    return (
        f"No row is proved best: {leader.label} has the lowest mean, {where}, but its {len(own)} seeds do not prove "
        f"{others} worse; {floor}{undecided}."
    )


def second_opinion(paradigms: pd.DataFrame) -> str:
    """Whether PCA-FID ranks the paradigms' means as FID does; empty where nothing was ranked by both.

    It says nothing of seed noise, so the ranking is called the same, not certain.
    """
    both = paradigms[paradigms.rank_robust.notna()]
    if both.empty:
        return ""
    others = both[~both.rank_robust.astype(bool)]
    opinion = "Second opinion, without a classifier: PCA-FID of the same cells"
    if others.empty:
        return f"{opinion} puts the means in the same order. Whether they differ at all is for the intervals to say."
    return f"{opinion} ranks {join(list(others.label))} differently, so their places by FID rest on the classifier."


def tally(claims: pd.DataFrame) -> str:
    """The verdicts on the claims, counted before and after Holm's correction over all of them, in one line."""

    def said(verdicts: pd.Series) -> str:
        counts = verdicts.value_counts()
        return ", ".join(f"{counts[verdict]} {verdict}" for verdict in schema.VERDICTS if verdict in counts)

    if claims.empty:
        return "claims: none"
    plain = f"claims: {said(claims.verdict)}"
    if not claims.verdict.isin(schema.DECIDED).any():
        return plain
    left = said(claims.verdict_holm[claims.verdict_holm.isin(schema.DECIDED)])
    return f"{plain}; corrected for their number (Holm): {left or 'none'}"


def of_run(params: Params) -> str:
    """What a finished run found, in three lines: the headline, the verdicts counted, and where its page lies.

    Raises:
        UserError: a table is missing or damaged.
    """
    places = Places(params.name)
    paradigms, cells, floors, claims = (
        store.read(places.tables, name) for name in ("paradigms", "cells", "floors", "claims")
    )
    return f"{headline(paradigms, cells, floors)}\n{tally(claims)}\nreport: {places.report.resolve().as_uri()}"
