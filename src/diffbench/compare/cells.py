"""Cells of two runs, tested metric by metric for a difference beyond seed noise."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control, t

from diffbench.tables.schema import TABLES, Column
from diffbench.tables.store import framed

ALPHA = 0.05
KEY = ("paradigm", "sampler", "steps", "guidance", "arm")
DIFFER = ("differs", "failed left", "failed right")


@dataclass(frozen=True)
class Metric:
    """A score that is compared: its scale, what counts as a trifle on it, and whether the classifier enters it.

    ``weight`` is its part of the 5%. ``counted``: a share of images, so a multiple of one over their number; seeds that
    tie on it are no more certain than a count of so many.
    """

    name: str
    scale: str  # ratio: logs are compared; difference
    tolerance: float
    judged: bool
    weight: float = 1.0
    counted: bool = False

    @property
    def bound(self) -> float:
        """The tolerance in the unit of the effects: a log ratio, or that of the metric."""
        return math.log1p(self.tolerance) if self.scale == "ratio" else self.tolerance


METRICS = (
    Metric("fid", "ratio", 0.05, judged=True, weight=4.0),
    Metric("pca_fid", "ratio", 0.05, judged=False, weight=4.0),
    Metric("recall", "difference", 0.025, judged=True, counted=True),
    Metric("digit_error", "difference", 0.005, judged=True, counted=True),
    Metric("slant_error", "difference", 0.005, judged=False, counted=True),
)
CELLS = (
    *(column for column in TABLES["cells"].columns if column.name in KEY),
    Column("metric", "string", "", "what is compared; empty where the cell as a whole is missing or failed"),
    Column("n_left", "integer", "seeds", "seeds with a value on the left"),
    Column("n_right", "integer", "seeds", "seeds with a value on the right"),
    Column("left", "number", "", "mean over seeds, the geometric one of a distance"),
    Column("right", "number", "", "the same on the right"),
    Column("scale", "string", "", "ratio: the effect is right over left; difference: right minus left"),
    Column("effect", "number", "", "ratio or difference"),
    Column("low", "number", "", "lower end of its 95% t interval, for this cell alone"),
    Column("high", "number", "", "upper end of it"),
    Column("outside", "boolean", "", "the interval leaves out equality, expected of one in twenty; empty for counts"),
    Column("p", "number", "1", "p-value of: the difference is at most the tolerance"),
    Column("p_adjusted", "number", "1", "the same after Benjamini and Hochberg's correction over all that was tested"),
    Column("says", "string", "", "same, agrees, differs, or why nothing was tested"),
)


def cell_name(row: dict) -> str:
    """A cell in words."""
    arm = f", arm {row['arm']}" if row["arm"] else ""
    return f"{row['paradigm']}: {row['sampler']}, {row['steps']} steps, guidance {row['guidance']:g}{arm}"


def _values(cells: pd.DataFrame, index: pd.MultiIndex, metric: Metric) -> np.ndarray:
    """A metric by cell and seed, (C, S) on the scale of its effects; not a number where a seed has none."""
    ok = cells.status == "ok"
    values = cells[metric.name].astype(float).where(ok)
    if metric.scale == "ratio":
        values = np.log(values.clip(lower=1e-12))
    wide = cells.assign(_value=values).pivot(index=list(KEY), columns="seed", values="_value").reindex(index)
    return wide.to_numpy(float)


def _images(cells: pd.DataFrame, index: pd.MultiIndex) -> np.ndarray:
    """Images scored in a cell, (C,); not a number where unknown."""
    return cells.groupby(list(KEY)).images.max().reindex(index).astype(float).to_numpy()


def _moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Seeds, mean and sum of squares about the mean of values (C, S); spread by rounding only counts as none."""
    n = np.isfinite(values).sum(axis=1)
    mean = np.where(n > 0, np.nansum(values, axis=1) / np.maximum(n, 1), math.nan)
    squares = np.nansum((values - mean[:, None]) ** 2, axis=1)
    rounding = n * (1e-12 * np.maximum(1, np.abs(np.nan_to_num(mean)))) ** 2
    return n, mean, np.where(squares > rounding, squares, 0.0)


def two_sample(left: np.ndarray, right: np.ndarray, bound: float, floor: np.ndarray | float = 0.0) -> pd.DataFrame:
    """Student's t test of two independent samples with one variance, for many cells at once.

    Args:
        left, right: values by cell and seed, (C, S) and (C, R); not a number where there is none.
        bound: differences up to this are a trifle.
        floor: the least variance a value can have, (C,).

    Returns:
        Rows in the order of the cells: n_left, n_right, left, right (means), effect (right minus left), its 95%
        interval low to high, ``p_plain`` of no difference and ``p`` of one of at most ``bound``. Not a number where
        there are fewer than three values, or none on one side.
    """
    (n, a, squares_a), (m, b, squares_b) = _moments(left), _moments(right)
    df = np.maximum(n + m - 2, 1)
    variance = np.maximum((squares_a + squares_b) / df, floor)
    error = np.sqrt(variance * (1 / np.maximum(n, 1) + 1 / np.maximum(m, 1)))
    effect = b - a
    testable = (n > 0) & (m > 0) & (n + m > 2)
    size = np.where(np.abs(effect) > 1e-12 * np.maximum(1, np.abs(a)), np.abs(effect), 0.0)

    def beyond(limit: float) -> np.ndarray:
        """Probability of a difference as large in either direction, were the true one ``limit``."""
        with np.errstate(divide="ignore", invalid="ignore"):
            p = t.sf((size - limit) / error, df) + t.sf((size + limit) / error, df)
        p = np.where(error > 0, p, np.where(size > limit, 0.0, 1.0))
        return np.where(testable, np.minimum(p, 1.0), math.nan)

    half = np.where(testable, t.ppf(1 - ALPHA / 2, df) * error, math.nan)
    return pd.DataFrame(
        {"n_left": n, "n_right": m, "left": a, "right": b, "effect": effect, "low": effect - half,
         "high": effect + half, "p_plain": beyond(0.0), "p": beyond(bound)}
    )  # fmt: skip


def _identical(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Cells whose seeds have exactly the same values, (C,)."""
    if left.shape != right.shape:
        return np.zeros(len(left), bool)
    return ((left == right) | (np.isnan(left) & np.isnan(right))).all(axis=1)


def _counting(left: np.ndarray, right: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Binomial variance of a share of so many images, (C,): three seeds that tie are not certain."""
    both = np.concatenate([left, right], axis=1)
    count = np.isfinite(both).sum(axis=1)
    share = (np.nansum(both, axis=1) * images + 1) / (np.maximum(count, 1) * images + 2)
    return np.nan_to_num(share * (1 - share) / images)


def _metric_rows(
    left: pd.DataFrame, right: pd.DataFrame, index: pd.MultiIndex, metric: Metric, tested: np.ndarray
) -> pd.DataFrame:
    """The comparison of one metric over the cells that both runs have; ``tested`` says which enter the test, (C,)."""
    a, b = _values(left, index, metric), _values(right, index, metric)
    same_seeds = set(left.seed) == set(right.seed)
    floor = _counting(a, b, _images(left, index)) if metric.counted else 0.0
    found = two_sample(a, b, metric.bound, floor)
    found.insert(0, "metric", metric.name)
    found = found.assign(scale=metric.scale, same=_identical(a, b) if same_seeds else False, tested=tested)
    if metric.scale == "ratio":
        found[["left", "right", "effect", "low", "high"]] = np.exp(found[["left", "right", "effect", "low", "high"]])
    rows = pd.concat([index.to_frame(index=False), found], axis=1)
    return rows[(rows.n_left > 0) | (rows.n_right > 0)]


def _whole(key: tuple, says: str) -> dict:
    """A row that says something of a cell as a whole."""
    return dict(zip(KEY, key, strict=True), metric="", says=says)


def compare_cells(left: pd.DataFrame, right: pd.DataFrame, same_judge: bool) -> pd.DataFrame:
    """The table of cells, with the test's verdict in ``says``."""
    index_left, index_right = (
        pd.MultiIndex.from_frame(side[list(KEY)].drop_duplicates()).sort_values() for side in (left, right)
    )
    shared = index_left.intersection(index_right).sort_values()
    ok = [side.assign(ok=side.status == "ok").groupby(list(KEY)).ok.any() for side in (left, right)]
    fine = [side.reindex(shared).to_numpy(bool) for side in ok]
    images = [_images(side, shared) for side in (left, right)]
    alike = (images[0] == images[1]) | (np.isnan(images[0]) & np.isnan(images[1]))

    whole: list[dict] = []
    whole += [_whole(key, "only left") for key in index_left.difference(index_right)]
    whole += [_whole(key, "only right") for key in index_right.difference(index_left)]
    words = {(True, False): "failed right", (False, True): "failed left", (False, False): "failed on both sides"}
    for key, *state in zip(shared, *fine, strict=True):
        if tuple(state) in words:
            whole.append(_whole(key, words[tuple(state)]))

    both = fine[0] & fine[1]
    parts = []
    for metric in METRICS:
        if metric.name in left and metric.name in right and len(shared):
            tested = both & alike & (same_judge or not metric.judged)
            rows = _metric_rows(left, right, shared, metric, tested)
            parts.append(rows[rows.index.isin(np.flatnonzero(both))])
    if not parts:
        return framed(CELLS, whole)
    rows = pd.concat(parts, ignore_index=True)
    # One score may tie by chance, as errors that are counts do; a cell is the same where all its scores are.
    rows["same"] = rows.groupby(list(KEY)).same.transform("all")
    enters = rows.tested & rows.p.notna()
    rows["p_adjusted"] = math.nan
    if enters.any():
        weights = rows.metric[enters].map({metric.name: metric.weight for metric in METRICS}).to_numpy(float)
        weighted = rows.p[enters].to_numpy() / (weights / weights.mean())
        rows.loc[enters, "p_adjusted"] = false_discovery_control(np.minimum(weighted, 1.0))
    # Counts have their variance from below, so their intervals are too wide to say anything about calibration.
    plain = enters & rows.metric.isin([metric.name for metric in METRICS if not metric.counted])
    rows["outside"] = (rows.p_plain <= ALPHA).astype("boolean").where(plain)
    reasons = [
        (rows.same.astype(bool), "same"),
        (rows.n_right == 0, "only left"),
        (rows.n_left == 0, "only right"),
        (~rows.tested.astype(bool) & ~_lookup(rows, shared, alike), "other number of images"),
        (~rows.tested.astype(bool), "other classifier"),
        (rows.p.isna(), "one seed each"),
        (rows.p_adjusted <= ALPHA, "differs"),
    ]
    rows["says"] = np.select([mask for mask, _ in reasons], [says for _, says in reasons], "agrees")
    rows.loc[~enters, ["p", "low", "high"]] = math.nan
    order = {metric.name: place for place, metric in enumerate(METRICS)}
    rows = rows.assign(_place=rows.metric.map(order)).sort_values([*KEY, "_place"], kind="stable")
    kept = [column.name for column in CELLS]
    return pd.concat([framed(CELLS, whole), framed(CELLS, rows[kept])], ignore_index=True)


def _lookup(rows: pd.DataFrame, shared: pd.MultiIndex, flags: np.ndarray) -> np.ndarray:
    """Flags by cell, (C,), for each row of a table with the cells' key."""
    return pd.Series(flags, index=shared).reindex(pd.MultiIndex.from_frame(rows[list(KEY)])).to_numpy(bool)
