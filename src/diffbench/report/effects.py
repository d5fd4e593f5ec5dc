"""What the network buys and what the objective buys: rows that differ in nothing else, compared over seeds."""

import math

import numpy as np
import pandas as pd

from diffbench.config.models import Params
from diffbench.tables import schema
from diffbench.tables.intervals import interval

BASE_NETWORK, BASE_OBJECTIVE = "unet", ("eps", "vp-linear", "uniform")
NETWORKS = {"unet": "U-Net", "dit": "DiT", "mmdit": "MMDiT"}


def comparisons(params: Params) -> list[tuple[str, str, str]]:
    """Pairs of conditional rows that differ in the network only or in the objective only: (words, row, base).

    The bases are the U-Net and eps on the linear VP schedule with uniform times.
    """
    rows = {
        (row.network, (row.target, row.path, row.times)): key
        for key, row in reversed(params.paradigms.items())
        if row.conditional
    }
    found = []
    for (network, objective), key in reversed(rows.items()):
        base = rows.get((network, BASE_OBJECTIVE))
        if base and base != key:
            name = objective_name(objective)
            found.append((f"objective: {name} instead of eps, {NETWORKS.get(network, network)}", key, base))
    for (network, objective), key in reversed(rows.items()):
        base = rows.get((BASE_NETWORK, objective))
        if base and base != key:
            names = NETWORKS.get(network, network), NETWORKS[BASE_NETWORK]
            found.append((f"network: {names[0]} instead of {names[1]}, {objective_name(objective)}", key, base))
    return found


def objective_name(objective: tuple[str, str, str]) -> str:
    """Target, path and density of times in short; the path and the density only where they are not the usual ones."""
    target, path, times = objective
    usual = {"vp-linear": "", "vp-scaled-linear": " (scaled-linear)", "linear": ""}.get(path, f" ({path})")
    density = "" if times == ("logit-normal" if path == "linear" else "uniform") else f" at {times} t"
    return f"{target}{usual}{density}"


def own_seeds(frames: dict[str, pd.DataFrame], params: Params, key: str, which: str) -> pd.Series:
    """FID by seed of a row's best cell of the grid under its own, first sampler; empty if it has none.

    Rows were not given the same samplers, so a best over all would credit a solver to a network or an objective.

    Args:
        which: "best_", or "few_" for its best cell of few evaluations.
    """
    cells = frames["cells"]
    guidance = frames["paradigms"].set_index("paradigm").guidance.get(key)
    own = cells[
        (cells.paradigm == key) & (cells.sampler == params.paradigms[key].samplers[0]) & (cells.arm == "")
        & ~cells.native.fillna(False).astype(bool) & (cells.status == "ok")
        & (cells.guidance == (0.0 if pd.isna(guidance) else guidance))
    ]  # fmt: skip
    if which == "few_":
        own = own[own.nfe <= schema.FEW_NFE]
    if own.empty:
        return pd.Series(dtype=float)
    best = own.groupby("steps").fid.mean().idxmin()
    return own[own.steps == best].set_index("seed").fid.astype(float)


def ratios(frames: dict[str, pd.DataFrame], params: Params, which: str) -> pd.DataFrame:
    """What a network or an objective changes: the ratio of FIDs, paired over seeds, with its 95% t interval.

    Args:
        which: "best_" compares each row's best cells, "few_" its best of few evaluations, of its own sampler.
    """
    rows = []
    for words, key, base in comparisons(params):
        left, right = (own_seeds(frames, params, side, which) for side in (key, base))
        seeds = left.index.intersection(right.index)
        if not len(seeds):
            continue
        logs = np.log(left[seeds].clip(1e-12).to_numpy()) - np.log(right[seeds].clip(1e-12).to_numpy())
        low, high = interval(logs)
        ratio, low, high = (math.exp(value) for value in (logs.mean(), low, high))
        span = "" if math.isnan(low) else f", 95% interval {low:.3g} to {high:.3g}"
        text = f"{words}: FID times {ratio:.3g}{span}"
        rows.append({"comparison": words, "ratio": ratio, "low": low, "high": high, "text": text})
    return pd.DataFrame(rows)
