"""The few figures and curves of a run that DVC shows: headline.json, and plots/*.csv.

Its table of experiments has a column for each figure, and its plots draw one file each, so both hold means over seeds
and nothing that a person would not look at first. All the rest stands in metrics.json and in the tables.
"""

import pandas as pd

from diffbench.config.models import Params
from diffbench.tables import layout, store

# The columns of each file in plots/; the first names the line.
COLUMNS = (
    ["paradigm", "nfe", "fid"],
    ["paradigm", "guidance", "joint_error", "fid"],
    ["paradigm", "images", "fid"],
    ["paradigm", "images", "loss"],
)


def own_cells(cells: pd.DataFrame, paradigm: str, sampler: str, guidance: float | None) -> pd.DataFrame:
    """A row's cells by which it is judged: of its own sampler, and its paper's own cell, at its chosen scale.

    Args:
        sampler: the row's own, which is its first.
        guidance: that scale; None where no selection images gave one.
    """
    own = cells[(cells.paradigm == paradigm) & (cells.status == "ok") & (cells.arm == "")]
    return own[(own.guidance == guidance) & ((own.sampler == sampler) | own.native.fillna(False).astype(bool))]


def headline(frames: dict[str, pd.DataFrame]) -> dict:
    """The best row, the FID of every row's best cell, and what real test images score.

    A row competes as in the report's headline: unconditional ones only among themselves, none that copies or is there
    for a single factor, and before any row on a single seed those on several.
    """
    rows = frames["paradigms"][frames["paradigms"].best_fid.notna()]
    result: dict = {"fid": {row.paradigm: float(row.best_fid) for row in rows.itertuples()}}
    result["real_fid"] = float(store.real_test_row(frames["floors"]).fid)
    rivals = rows[rows.rank_fid.notna()]
    rivals = rivals[rivals.conditional.astype(bool)] if rivals.conditional.any() else rivals
    if rivals.empty:
        return result
    best = rivals.assign(single=rivals.seeds_ok < 2).sort_values(["single", "best_fid"]).iloc[0]
    own = {"best_row": best.paradigm, "best_fid": float(best.best_fid), "best_nfe": int(best.best_nfe)}
    return result | own


def curves(params: Params, frames: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The files in plots/ by name: means over the seeds that did not fail."""
    cells, chosen = frames["cells"], frames["paradigms"].set_index("paradigm").guidance
    quality, sweep = [cells.iloc[:0]], [cells.iloc[:0]]
    for key, paradigm in params.paradigms.items():
        sampler = paradigm.samplers[0]
        quality.append(own_cells(cells, key, sampler, chosen[key]))
        if paradigm.conditional:
            own = cells[(cells.paradigm == key) & (cells.sampler == sampler) & ~cells.native.fillna(False).astype(bool)]
            own = own[(own.arm == "") & (own.status == "ok")]
            sweep.append(own[own.steps == params.sampling.guidance.sweep_steps])
    rows = {
        "quality": pd.concat(quality),
        "guidance": pd.concat(sweep),
        "convergence": frames["convergence"].query("status == 'ok'"),
        "loss": frames["training"].query("status == 'ok'"),
    }
    keys = {"quality": ["paradigm", "sampler", "steps", "nfe"]}
    result = {}
    for name, columns in zip(layout.CURVES, COLUMNS, strict=True):
        key = keys.get(name, columns[:2])
        values = [column for column in columns if column not in key]
        means = rows[name].groupby(key, as_index=False)[values].mean()
        result[name] = means.sort_values(columns[:2], kind="stable")[columns].dropna()
    return result
