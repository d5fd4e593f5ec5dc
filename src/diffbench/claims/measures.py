"""From the tables to one number a training seed, and to the effects of a part.

Every number here is one a reader can look up or work out by hand from the tables; nothing reads a result file.
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from diffbench.claims.load import Part
from diffbench.tables import schema

Frames = dict[str, pd.DataFrame]
READS = ("cells", "convergence", "cost", "floors", "judges", "noise_error", "paradigms", "straightness")


class Untestable(Exception):
    """The run's tables do not hold what a part compares; the text says what is missing."""


@dataclass(frozen=True)
class Context:
    """The tables of a run and the own sampler of each of its rows."""

    frames: Frames
    own_sampler: dict[str, str]

    def column(self, table: str, metric: str) -> pd.DataFrame:
        """A table that has a column.

        Raises:
            Untestable: it has none.
        """
        if metric not in self.frames[table].columns:
            raise Untestable(f"no column {metric} in the table {table}")
        return self.frames[table]

    def guidance(self, row: str, scale: float | str) -> float:
        """A guidance scale, "chosen" looked up in the table paradigms.

        Raises:
            Untestable: no scale was chosen for the row.
        """
        if scale != "chosen":
            return float(scale)
        chosen = self.frames["paradigms"].set_index("paradigm").guidance[row]
        if pd.isna(chosen):
            raise Untestable(f"no guidance scale was chosen for {row}")
        return float(chosen)

    def real(self, metric: str) -> float:
        """What real test images score.

        Raises:
            Untestable: nothing.
        """
        floors = self.column("floors", metric)
        value = floors[floors.split == "test"][metric].iloc[0]
        if pd.isna(value):
            raise Untestable(f"real test images have no {metric}")
        return float(value)


def as_seen_by(judge: int, frames: Frames) -> Frames:
    """The tables with the scores that rest on a classifier as another judge gives them.

    The guidance scales stay those that the first classifier's features chose.
    """
    found = dict(frames)
    own = frames["judges"][frames["judges"].judge == judge]
    for name, keys in schema.JUDGED_KEYS.items():
        table, rows = frames[name], own[own.of == name]
        if not keys:
            for values in rows.to_dict("records"):
                changed = {score: table[score].where(table.split != "test", values[score]) for score in schema.JUDGED}
                found[name] = table.assign(**changed)
            continue
        index = pd.MultiIndex.from_frame(table[list(keys)])
        values = rows.set_index(list(keys))[list(schema.JUDGED)].reindex(index)
        found[name] = table.assign(**{score: values[score].to_numpy() for score in schema.JUDGED})
    return found


def _by_seed(rows: pd.DataFrame, metric: str) -> pd.Series:
    """A metric by seed; failed rows are not a number."""
    values = rows.set_index(rows.seed.astype(int))[metric].astype(float)
    return values.where(rows.set_index(rows.seed.astype(int)).status == "ok") if "status" in rows else values


def _arm(where: dict[str, Any]) -> str:
    """The name of an arm, in which {steps} stands for the step count."""
    return where.get("arm", "").format(steps=where.get("steps", ""))


def _cells(context: Context, table: str, row: str, where: dict[str, Any]) -> pd.DataFrame:
    """The rows, one a seed, of one way of sampling.

    Raises:
        Untestable: the run has none.
    """
    sampler = where.get("sampler", "own")
    sampler = context.own_sampler[row] if sampler == "own" else sampler
    scale, arm = context.guidance(row, where["guidance"]), _arm(where)
    cells = context.frames[table]
    found = cells[(cells.paradigm == row) & (cells.sampler == sampler) & (cells.steps == where["steps"])]
    found = found[(found.guidance == scale) & (found.arm == arm)]
    if found.empty:
        named = f"arm {arm} of {row}" if arm else f"cell {row}"
        raise Untestable(f"no {named}: {sampler}, {where['steps']} steps, guidance {scale:g}")
    return found


def cell(context: Context, row: str, metric: str, where: dict[str, Any]) -> pd.Series:
    """A metric of one cell; ``from_real``: its distance to real test images' as a share of theirs."""
    if context.column("cells", metric)[metric].isna().all():
        raise Untestable(f"no value of {metric} in the table cells")
    values = _by_seed(_cells(context, "cells", row, where), metric)
    if where.get("from_real"):
        real = context.real(metric)
        return (values - real).abs() / abs(real)
    return values


def cost(context: Context, row: str, metric: str, where: dict[str, Any]) -> pd.Series:
    """A column of the table cost, of the training or of one cell's sampling."""
    table = context.column("cost", metric)
    table = table[(table.stage == where["stage"]) & (table.paradigm == row)]
    if where["stage"] == "sample":
        table = _cells(Context(context.frames | {"cost": table}, context.own_sampler), "cost", row, where)
    return _by_seed(table, metric)


def straightness(context: Context, row: str, metric: str, where: dict[str, Any]) -> pd.Series:
    """A column of the table straightness; ``over_exact``: over that of the exact flow, on the row's own path and times.

    Paths differ in the noise they start from and in where their steps lie, so even the exact flow bends differently.
    """
    table = context.column("straightness", metric)
    own = _by_seed(table[table.paradigm == row], metric)
    if not where.get("over_exact"):
        return own
    exact = context.column("straightness", f"exact_{metric}")
    return own / _by_seed(exact[exact.paradigm == row], f"exact_{metric}")


def area(context: Context, row: str, metric: str, where: dict[str, Any]) -> pd.Series:
    """Mean of a metric's log over the log of images seen, by trapezoids between snapshots: low where it falls early."""
    table = context.column("convergence", metric)
    own = table[table.paradigm == row]
    result = {}
    for seed, rows in own.groupby("seed"):
        rows = rows.sort_values("images")
        x = np.log(rows.images.to_numpy(float))
        y = _log(rows[metric].where(rows.status == "ok").to_numpy(float, na_value=math.nan))
        # A training that failed has rows that say so for the snapshots it did not reach, and so no area.
        result[int(seed)] = float(np.trapezoid(y, x) / (x[-1] - x[0])) if len(x) > 1 else math.nan
    return pd.Series(result, dtype=float)


def noise(context: Context, row: str, metric: str, where: dict[str, Any]) -> pd.Series:
    """Mean of an error's log over the bins of noise level that lie within ``low`` and ``high``.

    Raises:
        Untestable: no bin does.
    """
    table = context.column("noise_error", metric)
    near = 1e-9  # edges are multiples of 1 / bins
    own = table[(table.paradigm == row) & (table.axis == where["axis"])]
    own = own[(own.low >= where["low"] - near) & (own.high <= where["high"] + near)]
    if own.empty:
        raise Untestable(f"no bin of {where['axis']} of {row} within {where['low']:g} and {where['high']:g}")
    logs = own.assign(log=_log(own[metric].to_numpy(float, na_value=math.nan)))
    return logs.groupby(logs.seed.astype(int)).log.agg(lambda values: values.mean(skipna=False))


def _over(context: Context, row: str, metric: str, where: dict[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Logs of a metric and of the evaluations by seed and step count."""
    logs, nfe = {}, {}
    for steps in where["over"]:
        rows = _cells(context, "cells", row, where | {"steps": steps})
        logs[steps] = _by_seed(rows, metric).map(lambda value: math.log(value) if value > 0 else math.nan)
        nfe[steps] = np.log(_by_seed(rows, "nfe"))
    return pd.DataFrame(logs), pd.DataFrame(nfe)


def spread(context: Context, row: str, metric: str, where: dict[str, Any]) -> pd.Series:
    """Log of the largest over the smallest value of a metric over the step counts ``over``."""
    context.column("cells", metric)
    logs, _ = _over(context, row, metric, where)
    return logs.max(axis=1, skipna=False) - logs.min(axis=1, skipna=False)


def slope(context: Context, row: str, metric: str, where: dict[str, Any]) -> pd.Series:
    """Least-squares slope of a metric's log against the log of evaluations over the step counts ``over``."""
    context.column("cells", metric)
    logs, nfe = _over(context, row, metric, where)
    y, x = logs.sub(logs.mean(axis=1, skipna=False), axis=0), nfe.sub(nfe.mean(axis=1, skipna=False), axis=0)
    return (x * y).sum(axis=1, skipna=False) / (x * x).sum(axis=1, skipna=False)


def trend(context: Context, row: str, metric: str, where: dict[str, Any]) -> pd.Series:
    """Least-squares slope of a metric against log2 of the guidance scale, over the scales above 0 of one step count.

    The change with each doubling of the scale. A rank correlation over a handful of scales takes a handful of values,
    and no t test holds its error on those.

    Raises:
        Untestable: fewer than three scales.
    """
    values = _by_scale(context, row, metric, where)  # (seeds, scales)
    x = np.log2(values.columns.to_numpy(float))
    x = x - x.mean()
    return values.mul(x, axis=1).sum(axis=1, skipna=False) / float(x @ x)


def monotone(context: Context, row: str, metric: str, where: dict[str, Any]) -> pd.Series:
    """The change of a metric from one guidance scale above 0 to the next: of all, the one that rises most.

    What has the direction "lower" falls monotonically where that is below 0. The largest of noisy changes is above the
    largest of the true ones, so noise speaks against the claim.

    Raises:
        Untestable: fewer than three scales.
    """
    values = _by_scale(context, row, metric, where)
    return values.diff(axis=1).iloc[:, 1:].max(axis=1, skipna=False)


def _by_scale(context: Context, row: str, metric: str, where: dict[str, Any]) -> pd.DataFrame:
    """A metric by seed and guidance scale above 0, in rising order of scales; not a number where a cell failed.

    Raises:
        Untestable: fewer than three scales.
    """
    cells = context.column("cells", metric)
    sampler = where.get("sampler", "own")
    sampler = context.own_sampler[row] if sampler == "own" else sampler
    own = cells[(cells.paradigm == row) & (cells.sampler == sampler) & (cells.steps == where["steps"])]
    own = own[(own.guidance > 0) & (own.arm == "")]
    scales = own.guidance.nunique()
    if scales < 3:
        raise Untestable(f"{scales} guidance scales of {row} at {where['steps']} steps, 3 needed")
    whole = own.assign(value=own[metric].where(own.status == "ok").astype(float), seed=own.seed.astype(int))
    return whole.pivot(index="seed", columns="guidance", values="value").sort_index(axis=1)


MEASURES: dict[str, Callable[[Context, str, str, dict[str, Any]], pd.Series]] = {
    "cell": cell,
    "cost": cost,
    "straightness": straightness,
    "area": area,
    "noise": noise,
    "spread": spread,
    "slope": slope,
    "trend": trend,
    "monotone": monotone,
}
LOGGED = ("area", "noise", "spread")  # logs already


def _log(values: np.ndarray) -> np.ndarray:
    """Logs; not a number where there is none."""
    return np.log(np.where(values > 0, values, math.nan))


@dataclass(frozen=True)
class Measured:
    """The effects of a part by seed, with the two sides of each pair of rows, and in words what was compared.

    ``sides`` holds, for each pair, the left and the right values by seed on the scale of the effects.
    """

    effects: pd.Series
    sides: list[tuple[pd.Series, pd.Series]]
    compared: str
    note: str

    @property
    def whole(self) -> pd.Series:
        """The effects of seeds none of whose rows failed."""
        return self.effects.dropna()

    @property
    def seeds(self) -> str:
        """Every seed as JSON: its effect, and its value on either side of each pair; null where a row failed."""
        rows = [
            {
                "seed": int(seed),
                "effect": _plain(effect),
                "left": [_plain(left.get(seed)) for left, _ in self.sides],
                "right": [_plain(right.get(seed)) for _, right in self.sides],
            }
            for seed, effect in self.effects.items()
        ]
        return json.dumps(rows)


def _plain(value: float | None) -> float | None:
    return None if value is None or pd.isna(value) else float(value)


def _words(context: Context, part: Part, row: str, where: dict[str, Any]) -> str:
    """One side in words."""
    said = [row]
    if arm := _arm(where):
        said.append(f"arm {arm}")
    if part.measure in ("cell", "spread", "slope", "trend", "monotone") or where.get("stage") == "sample":
        sampler = where.get("sampler", "own")
        said.append(context.own_sampler[row] if sampler == "own" else sampler)
    if "steps" in where and where.get("stage") != "train":
        said.append(f"{where['steps']} steps")
    if "over" in where:
        said.append(f"{', '.join(map(str, where['over']))} steps")
    if "guidance" in where and where.get("stage") != "train":
        chosen = " (chosen)" if where["guidance"] == "chosen" else ""
        said.append(f"guidance {context.guidance(row, where['guidance']):g}{chosen}")
    if part.measure in ("trend", "monotone"):
        said.append("all guidance scales above 0")
    if "axis" in where:
        said.append(f"{where['axis']} from {where['low']:g} to {where['high']:g}")
    return ", ".join(said)


def _side(context: Context, part: Part, row: str, where: dict[str, Any]) -> pd.Series:
    values = MEASURES[part.measure](context, row, part.metric, where)
    if part.scale == "ratio" and part.measure not in LOGGED:
        values = pd.Series(_log(values.to_numpy(float, na_value=math.nan)), index=values.index)
    return values.replace([math.inf, -math.inf], math.nan)


def _constant(context: Context, part: Part, like: pd.Series) -> pd.Series:
    value = context.real(part.metric) if part.against == "real" else float(part.against or 0)
    if part.scale == "ratio" and value <= 0:
        raise Untestable(f"{part.metric} is compared with {value:g}, of which there is no ratio")
    return pd.Series(math.log(value) if part.scale == "ratio" else value, index=like.index)


def _measure(context: Context, part: Part, pairs: list[tuple[str, ...]], shared: dict[str, Any]) -> Measured:
    """The part with its step count fixed."""
    sides, said = [], []
    for pair in pairs:
        on_left, on_right = shared | part.left, shared | part.right
        left = _side(context, part, pair[0], on_left)
        if len(pair) == 2:
            right = _side(context, part, pair[1], on_right)
            other = f"against {_words(context, part, pair[1], on_right)}"
        else:
            right = _constant(context, part, left)
            other = {"real": "against real test images", None: ""}.get(part.against, f"against {part.against}")
        sides.append((left, right))
        said.append(f"{_words(context, part, pair[0], on_left)} {other}".strip())
    sign = -1.0 if part.direction == "lower" else 1.0
    by_pair = pd.concat([sign * (left - right) for left, right in sides], axis=1)  # (seeds, pairs)
    if part.use == "slope":
        effects = _per_doubling(context, pairs, by_pair)
    elif part.use == "width":
        left, right = (_octaves(context, pairs, [side[i] for side in sides], i) for i in (0, 1))
        effects, sides = left - right, [(left, right)]
    else:
        effects = by_pair.mean(axis=1, skipna=False)
    return Measured(effects.sort_index(), sides, "; ".join(said), "")


NEAR_BEST = math.log(1.1)  # what counts as near the best learning rate, in the log of a metric


def _octaves(context: Context, pairs: list[tuple[str, ...]], logs: list[pd.Series], place: int) -> pd.Series:
    """Octaves of learning rate whose metric lies within 10% of the best one's, by seed; a failed training's does not.

    Each rate stands for the octaves between its neighbours' halves, so of rates a factor 2 apart for one.

    Args:
        logs: of the metric, lower being better, for the rows at ``place`` of the pairs.

    Raises:
        Untestable: fewer than three rates, or two rows of one.
    """
    rates = context.column("paradigms", "lr").set_index("paradigm").lr.astype(float)
    x = np.log2([rates[pair[place]] for pair in pairs])
    if len(set(x)) < max(3, len(x)):
        raise Untestable(f"{len(set(x))} learning rates, 3 different ones needed")
    order = np.argsort(x)
    edges = np.sort(x)
    weights = np.gradient(edges)  # half the way to either neighbour, the whole of it at the ends
    table = pd.concat(logs, axis=1).to_numpy(float)[:, order]  # (seeds, rates)
    best = np.nanmin(np.where(np.isnan(table), np.inf, table), axis=1, keepdims=True)
    near = np.isfinite(table) & (table <= best + NEAR_BEST)
    return pd.Series(near @ weights, index=logs[0].index)


def _per_doubling(context: Context, pairs: list[tuple[str, ...]], effects: pd.DataFrame) -> pd.Series:
    """Least-squares slope of the effects of pairs, (seeds, pairs), against log2 of the MACs of their networks.

    Raises:
        Untestable: fewer than three pairs, or pairs of one size.
    """
    macs = context.column("paradigms", "macs").set_index("paradigm").macs.astype(float)
    x = np.array([np.log2(macs[list(pair)]).mean() for pair in pairs])
    x = x - x.mean()
    if len(pairs) < 3 or not x.any():
        raise Untestable(f"{len(pairs)} pairs of rows, 3 of different sizes needed")
    return effects.mul(x).sum(axis=1, skipna=False) / float(x @ x)


def measure(context: Context, part: Part) -> Measured:
    """The effects of a part, above 0 in the direction it claims.

    An effect is left minus right (right minus left where the claim is "lower") of the values, or of their logs on the
    scale "ratio"; over several pairs of rows it is their mean. A seed of which a value is missing has none.

    Raises:
        Untestable: the run lacks rows, cells, columns, bins or scales that the part compares.
    """
    have = set(context.own_sampler) & set(context.frames["paradigms"].paradigm)
    present = [pair for pair in part.rows if have.issuperset(pair)]
    absent = list(dict.fromkeys(name for pair in part.rows for name in pair if name not in have))
    if not present:
        raise Untestable(f"this run has no {', '.join(absent)}")
    pairs = present[:1] if part.use == "first" else present
    left_out = "" if part.use == "first" and pairs[0] == part.rows[0] else f"this run has no {', '.join(absent)}"
    steps = part.where.get("steps")
    reasons = []
    for choice in steps if isinstance(steps, list) else [steps]:
        shared = part.where | ({} if choice is None else {"steps": choice})
        try:
            found = _measure(context, part, pairs, shared)
        except Untestable as error:
            reasons.append(str(error))
            continue
        notes = [left_out if absent else "", f"{choice} steps, because {'; '.join(reasons)}" if reasons else ""]
        return Measured(found.effects, found.sides, found.compared, "; ".join(filter(None, notes)))
    raise Untestable("; ".join(dict.fromkeys(reasons)))
