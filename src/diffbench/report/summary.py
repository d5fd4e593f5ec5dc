"""The first table of the page: a row a paradigm, its headline figures and ten samples."""

import math

import numpy as np
import pandas as pd

from diffbench.config.models import Params
from diffbench.data.vocabulary import DIGITS, SLANTS, WEIGHTS
from diffbench.report import charts
from diffbench.report.finding import DASH, cell_seeds, competing, number, shown, unproved
from diffbench.report.sprites import Album
from diffbench.tables import schema

COLUMNS = (
    ("few_fid", f"FID, at most {schema.FEW_NFE} NFE", "low"),
    ("best_fid", "best FID", "low"),
    ("target_nfe", "NFE to FID", "low"),
    ("seconds", "s per 1,000", "low"),
    ("precision", "precision", "high"),
    ("recall", "recall", "high"),
    ("joint_error", "prompt missed", "low"),
)


def score_text(name: str, value: float | None) -> str:
    """A value of the summary as the page writes it."""
    if value is None or pd.isna(value):
        return DASH
    if name.endswith("_nfe"):
        return f"{int(value)}"
    return f"{100 * value:.1f}%" if name.endswith("_error") else number(value)


def chance() -> dict[str, float]:
    """The errors of a network that draws real digits and does not listen to the prompt."""
    rights = {"digit_error": 1 / len(DIGITS), "weight_error": 1 / len(WEIGHTS), "slant_error": 1 / len(SLANTS)}
    rights["joint_error"] = math.prod(rights.values())
    return {name: 1 - right for name, right in rights.items()}


def floor_values(floors: pd.Series) -> list[tuple[str, str]]:
    """What real test images score in each column of the summary; what costs samples has no value."""
    return [
        (name, score_text(name, floors.get(name.removeprefix("few_").removeprefix("best_")))) for name, *_ in COLUMNS
    ]


def between(low: float, high: float) -> str:
    """An interval in words, empty where there is none."""
    return "" if pd.isna(low) or pd.isna(high) else f"{number(low)} to {number(high)}"


def leaders(frames: dict[str, pd.DataFrame], which: str) -> set[str]:
    """The conditional paradigm with the lowest mean FID, and those that seeds do not prove worse.

    Unconditional rows do not compete: they answer another question.
    """
    rows = competing(frames["paradigms"])
    rivals = rows[rows[f"{which}fid"].notna() & rows.conditional.astype(bool)].sort_values(f"{which}fid")
    if rivals.empty:
        return set()
    own = cell_seeds(rivals.iloc[0], frames["cells"], which)
    others = {row.paradigm: cell_seeds(row, frames["cells"], which) for _, row in rivals.iloc[1:].iterrows()}
    return {rivals.iloc[0].paradigm, *(key for key, seeds in others.items() if unproved(own, seeds))}


def seconds(frames: dict[str, pd.DataFrame], row: pd.Series) -> float:
    """Mean seconds per 1,000 images of a paradigm's best cell; NaN where it has none."""
    cost = frames["cost"]
    if pd.isna(row.best_fid):
        return float("nan")
    same = cost[
        (cost.stage == "sample") & (cost.paradigm == row.paradigm) & (cost.sampler == row.best_sampler)
        & (cost.steps == row.best_steps) & (cost.guidance == row.guidance) & (cost.arm == "")
    ]  # fmt: skip
    return float(same.seconds_per_1000.mean())


def chance_of(cells: pd.DataFrame, row: pd.Series) -> float:
    """The joint error of a row's best cell against prompts in another order; NaN where nothing was asked."""
    if pd.isna(row.best_fid) or not row.conditional or "joint_error_shuffled" not in cells:
        return float("nan")
    own = cells[
        (cells.paradigm == row.paradigm) & (cells.sampler == row.best_sampler) & (cells.steps == row.best_steps)
        & (cells.guidance == row.guidance) & (cells.arm == "") & (cells.status == "ok")
    ]  # fmt: skip
    return float(own.joint_error_shuffled.mean())


def rows(frames: dict[str, pd.DataFrame], params: Params, albums: dict[str, Album]) -> list[dict]:
    """The rows of the table, recipes before bridges, in the order of the params."""
    by_id = frames["paradigms"].set_index("paradigm", drop=False)
    best = {which: leaders(frames, which) for which in ("few_", "best_")}
    found = []
    styles = charts.looks(params)
    for key, paradigm in params.paradigms.items():
        row = by_id.loc[key]
        values = {name: row.get(name) for name, *_ in COLUMNS} | {"seconds": seconds(frames, row)}
        strip, cell, which = None, None, shown(row)
        if which:
            sampler, steps = row[f"{which}sampler"], int(row[f"{which}steps"])
            strip = albums[key].rows[(sampler, steps, float(row.guidance), "")]
            cell = charts.cell_id(key, sampler, steps, row.guidance)
        found.append(
            {
                "key": key,
                "label": row.label,
                "recipe": paradigm.role == "recipe",
                "conditional": bool(row.conditional),
                "factor": paradigm.role == "factor",
                "role": paradigm.role,
                "mark": styles[key],
                "chance": score_text("joint_error", chance_of(frames["cells"], row)),
                "what": f"{row.network}, {row.target}, {row.path}",
                "times": row.times,
                "guidance": "none" if not row.conditional else DASH if pd.isna(row.guidance) else f"{row.guidance:g}",
                "values": {name: score_text(name, values[name]) for name, *_ in COLUMNS},
                "sort": {name: None if pd.isna(values[name]) else float(values[name]) for name, *_ in COLUMNS},
                "few_interval": between(row.few_fid_low, row.few_fid_high),
                "best_interval": between(row.best_fid_low, row.best_fid_high),
                "best_nfe": score_text("best_nfe", row.best_nfe),
                "few_nfe": score_text("few_nfe", row.few_nfe),
                "digit_error": score_text("digit_error", row.digit_error),
                "leads": {"few_fid": key in best["few_"], "best_fid": key in best["best_"]},
                "pca_fid": number(row.best_pca_fid),
                "fid_infinity": number(row.best_fid_infinity),
                "fid_held_out": number(row.best_fid_held_out),
                # Below the share among unseen images is as good as none.
                "copied": score_text("copied_error", np.maximum(row.best_copied, 0.0)),
                "seeds_ok": int(row.seeds_ok),
                "parameters": f"{int(row.parameters):,}",
                "macs": f"{row.macs / 1e6:.1f} M",
                "cell": cell,
                "shown": which,
                "shown_fid": number(row[f"{which}fid"]) if which else DASH,
                "shown_nfe": int(row[f"{which}nfe"]) if which else None,
                "strip": strip,
                "sprite": albums[key].cells,
            }
        )
    return sorted(found, key=lambda row: (not row["recipe"], row["factor"]))
