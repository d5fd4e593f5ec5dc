"""What each factor buys: ways of training and sampling that differ in one factor alone, compared over training seeds.

A recipe's objective is several things at once. Taken apart, they are what the network predicts, the density of noise
levels it is trained at, the grid of noise levels it is sampled on, and the path. Densities and grids are compared by
their log-SNR, so a rule for times counts together with the path that it is meant on.

``v`` is the velocity of a variance-preserving path in its angle (arXiv:2202.00512, appendix D). So v there and velocity
on the linear path are one target on two paths. DDIM and Euler on the linear path are one sampler: with one grid of
noise levels they give the same images.
"""

import json
import math
from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from diffbench.tables.intervals import interval

GUIDANCE = 1.0  # of all that is compared here: guidance has factors of its own
FIRST_ORDER = ("ddim", "euler")
TARGETS = {"v": "velocity"}  # by other names
OLDER = {  # the order in which the papers brought them; what is not named here comes last
    "network": ("unet", "dit", "mmdit"),
    "target": ("x0", "eps", "velocity"),
    "path": ("vp-linear", "vp-scaled-linear", "vp-scaled-linear-ztsnr", "linear"),
    "rule": ("uniform", "logit-normal", "leading", "trailing"),
}


class Setting(NamedTuple):
    """One way of training and sampling; density and grid as a rule and the path that it is meant on.

    ``path`` is trained on, and sampled on too unless ``sampling_path`` names another; it is empty for most.
    """

    network: str
    target: str
    density: str
    grid: str
    path: str
    sampling_path: str = ""


ALL = "all"  # of the factors but the network
BUNDLE = (
    Setting("unet", "eps", "uniform@vp-linear", "trailing@vp-linear", "vp-linear"),
    Setting("unet", "velocity", "logit-normal@linear", "trailing@linear", "linear"),
)


class Sampled(NamedTuple):
    """A setting as a run has it: the row, the arm, or none, and FID by seed at a step count."""

    setting: Setting
    paradigm: str
    arm: str
    steps: int
    fid: pd.Series


def _on(rule: str, path: str) -> str:
    """A rule for times with the path it is meant on."""
    return rule if "@" in rule else f"{rule}@{path}"


def _age(factor: str, value: str) -> tuple:
    """A place in the order of the papers."""
    if factor in ("density", "grid"):
        rule, path = value.split("@")
        return _age("path", path), _age("rule", rule)
    known = OLDER["path" if factor == "sampling_path" else factor]
    if not value:
        return -1, value
    return (known.index(value) if value in known else len(known)), value


def _plain(arms: pd.DataFrame) -> pd.DataFrame:
    """The arms that change nothing but the grid of times or the path."""
    changed = arms.eta.fillna(0).ne(0) | arms.variance.fillna("").ne("") | arms.reading.fillna("").ne("")
    changed |= arms.interval_low.notna() | arms.rescale.fillna(0).ne(0) | arms.negative.notna()
    return arms[~changed]


def sampled(cells: pd.DataFrame, arms: pd.DataFrame, paradigms: pd.DataFrame) -> list[Sampled]:
    """What can be compared: cells of conditional rows at guidance 1 under a sampler of first order.

    A setting that several rows have, as networks of several sizes do, is left out: it would not say which is meant.

    Args:
        cells, arms, paradigms: the tables of these names.
    """
    own = arms[arms.precision == arms.precision.mode().iloc[0]] if len(arms) else arms
    options = {(row.paradigm, row.arm): row for row in _plain(own).itertuples()}
    done = cells[(cells.status == "ok") & (cells.guidance == GUIDANCE) & cells.sampler.isin(FIRST_ORDER)]
    found: dict[tuple[Setting, int, str], Sampled] = {}
    for row in paradigms[paradigms.conditional.astype(bool)].itertuples():
        mine = done[done.paradigm == row.paradigm].sort_values("arm", kind="stable")  # the grid's own cells first
        for (arm, steps), same in mine.groupby(["arm", "steps"], sort=False):
            option = options.get((row.paradigm, arm))
            if arm and option is None:
                continue
            other = "" if option is None or pd.isna(option.path) else option.path
            grid = _on("trailing" if option is None else option.spacing, other or row.path)
            target = TARGETS.get(row.target, row.target)
            setting = Setting(row.network, target, _on(row.times, row.path), grid, row.path, other)
            fid = same.drop_duplicates("seed").set_index("seed").fid.astype(float)
            found.setdefault((setting, int(steps), row.paradigm), Sampled(setting, row.paradigm, arm, int(steps), fid))
    shared = Counter(setting for setting, steps, _ in found)
    per_row = Counter((setting, paradigm) for setting, _, paradigm in found)
    return [way for way in found.values() if shared[way.setting] == per_row[way.setting, way.paradigm]]


def _pairs(ways: list[Sampled]) -> Iterator[tuple[str, Sampled, Sampled]]:
    """Pairs at one step count that differ in one factor, and the bundle of all: factor, the older, the newer."""
    for one, other in combinations(ways, 2):
        if one.steps != other.steps:
            continue
        changed = [name for name in Setting._fields if getattr(one.setting, name) != getattr(other.setting, name)]
        if len(changed) == 1:
            factor = changed[0]
            ages = [_age(factor, getattr(way.setting, factor)) for way in (one, other)]
            yield (factor, one, other) if ages[0] < ages[1] else (factor, other, one)
        elif one.setting.network == other.setting.network:
            bundle = tuple(way._replace(network=one.setting.network) for way in BUNDLE)
            if (one.setting, other.setting) in (bundle, bundle[::-1]):
                yield (ALL, one, other) if one.setting == bundle[0] else (ALL, other, one)


def effects(cells: pd.DataFrame, arms: pd.DataFrame, paradigms: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of the table ``effects``: the ratio of FIDs, newer over older, paired over seeds, with its 95% t interval.

    Args:
        cells, arms, paradigms: the tables of these names.
    """
    rows = []
    for factor, older, newer in _pairs(sampled(cells, arms, paradigms)):
        seeds = older.fid.index.intersection(newer.fid.index).sort_values()
        if not len(seeds):
            continue
        logs = np.log(newer.fid[seeds].to_numpy().clip(1e-12)) - np.log(older.fid[seeds].to_numpy().clip(1e-12))
        low, high = interval(logs)
        of_one = factor != ALL
        rows.append(
            {
                "factor": factor,
                "older": getattr(older.setting, factor) if of_one else "",
                "newer": getattr(newer.setting, factor) if of_one else "",
                **{f"with_{name}": getattr(newer.setting, name)
                   if name != factor and getattr(newer.setting, name) == getattr(older.setting, name) else ""
                   for name in Setting._fields},
                "base": older.paradigm,
                "base_arm": older.arm,
                "paradigm": newer.paradigm,
                "arm": newer.arm,
                "steps": older.steps,
                "ratio": math.exp(logs.mean()),
                "low": math.exp(low) if not math.isnan(low) else None,
                "high": math.exp(high) if not math.isnan(high) else None,
                "seeds": json.dumps({int(seed): math.exp(log) for seed, log in zip(seeds, logs, strict=True)}),
            }
        )  # fmt: skip
    return rows
