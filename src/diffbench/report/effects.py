"""What one factor buys at equal steps: the table of effects in words and as forest plots that a phone can show.

A forest plot is an axis and rows of marks at percentages of its width, which the page draws without a picture.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from diffbench.report.finding import NAMES, number
from diffbench.tables.factors import ALL, BUNDLE, OLDER, Setting

NETWORKS = NAMES
STEPS = (2, 8, 20)  # few, some and many, in each preset with a reference; a run without one has a gap there
SHORT = 8  # the step count of the first screen
# The order was fixed before a run was looked at: what training sees, what sampling sees, what is predicted, the path.
CHAIN = {
    "density": "noise levels in training: flow's instead of VP's",
    "grid": "noise levels in sampling: flow's instead of VP's",
    "target": "target: velocity instead of eps",
    "path": "path: straight instead of VP",
    ALL: "all four together",
}
IN_SHORT = {
    "density": "noise levels in training",
    "grid": "noise levels in sampling",
    "target": "target: velocity, not eps",
    "path": "path: straight, not VP",
    ALL: "objective: all four",
}


def chain(effects: pd.DataFrame, steps: int, network: str | None) -> pd.DataFrame:
    """The effects of the four factors, each added to those before it, and of all of them; empty if one is missing.

    Their ratios multiply to the last one, seed by seed.

    Args:
        effects: the table of that name.
        network: in which they are added; there is no chain without one.
    """
    if network is None:
        return effects.head(0)
    now, rows = BUNDLE[0]._replace(network=network), []
    own = effects[effects.steps == steps]
    for factor in CHAIN:
        if factor == ALL:
            found = own[(own.factor == ALL) & (own.with_network == now.network)]
        else:
            newer = getattr(BUNDLE[1], factor)
            found = own[(own.factor == factor) & (own.older == getattr(now, factor)) & (own.newer == newer)]
            for name in Setting._fields:
                if name != factor:
                    found = found[found[f"with_{name}"] == getattr(now, name)]
            now = now._replace(**{factor: newer})
        if found.empty:
            return effects.head(0)
        rows.append(found.iloc[0])
    return pd.DataFrame(rows)


def chained(effects: pd.DataFrame, counts: Sequence[int] = STEPS) -> str | None:
    """The network in which the chain is whole at each of the step counts: the eldest of several, None without one."""
    networks = dict.fromkeys([*OLDER["network"], *effects.with_network])
    return next((name for name in networks if all(len(chain(effects, count, name)) for count in counts)), None)


def network_name(network: str) -> str:
    """A network as people write it."""
    return NETWORKS.get(network, network)


def levels_name(density: str) -> str:
    """A density or grid of noise levels in short."""
    return {BUNDLE[1].density: "flow's", BUNDLE[0].density: "VP's"}.get(density, density)


def words_of(row: pd.Series) -> str:
    """What changes in a pair of rows and what it changes in, so that no two pairs of a run are called the same."""
    network, target, path = row.with_network, row.with_target, row.with_path
    if row.factor == "network":
        return f"network: {network_name(row.newer)} instead of {network_name(row.older)}, {target} on {path}"
    if row.factor == ALL:
        return f"all four together, {network_name(network)}"
    if row.factor == "target":
        levels = "" if row.with_density.endswith(f"@{path}") else f" at {levels_name(row.with_density)} noise levels"
        return f"target: {row.newer} instead of {row.older}, {network_name(network)} on {path}{levels}"
    if row.factor == "density":
        older, newer = levels_name(row.older), levels_name(row.newer)
        return f"noise levels in training: {newer} instead of {older}, {network_name(network)}, {target} on {path}"
    return f"{row.factor}: {row.newer} instead of {row.older}, {network_name(network)} + {target}"


def comparisons(effects: pd.DataFrame, steps: int) -> pd.DataFrame:
    """Pairs of rows as they are in the grid, without arms, that the chain does not hold.

    Args:
        effects: the table of that name.
    """
    own = effects[(effects.steps == steps) & (effects.base_arm == "") & (effects.arm == "")]
    links = chain(effects, steps, chained(effects, [steps])).itertuples()
    linked = {(row.base, row.paradigm) for row in links if not row.base_arm and not row.arm}
    pairs = pd.Series([*zip(own.base, own.paradigm, strict=True)], index=own.index, dtype=object)
    order = ["network", ALL, "target", "density", "grid", "path", "sampling_path"]
    found = own[~pairs.isin(linked)]
    return found.loc[found.factor.map(order.index).sort_values(kind="stable").index]


def shown(rows: pd.DataFrame, words: Iterator[str] | list[str]) -> pd.DataFrame:
    """Effects for a chart: columns comparison, ratio, low, high and text."""
    rows = rows.assign(comparison=list(words))
    spans = ["" if pd.isna(row.low) else f", 95% interval {row.low:.3g} to {row.high:.3g}" for row in rows.itertuples()]
    texts = [
        f"{row.comparison}, {row.steps} steps: FID times {row.ratio:.3g}{span}"
        for row, span in zip(rows.itertuples(), spans, strict=True)
    ]
    return rows.assign(text=texts)[["comparison", "ratio", "low", "high", "seeds", "text"]]


def in_short(effects: pd.DataFrame, steps: int) -> pd.DataFrame:
    """The factors of an objective in one network and the networks under each objective, as ``shown`` gives them.

    Args:
        effects: the table of that name.
    """
    linked = chain(effects, steps, chained(effects, [steps]))
    own = comparisons(effects, steps)
    if linked.empty:
        linked = own[own.factor == ALL]
        words = [f"objective: velocity, not eps ({network_name(row.with_network)})" for row in linked.itertuples()]
    else:
        words = [IN_SHORT[factor] for factor in linked.factor]
    networks = own[own.factor == "network"]
    names = [
        f"network: {network_name(row.newer)}, not {network_name(row.older)} ({row.with_target})"
        for row in networks.itertuples()
    ]
    rows = pd.concat([linked, networks])
    return shown(rows, [*words, *names]) if len(rows) else effects.head(0)


NICE = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)


@dataclass(frozen=True)
class Axis:
    """An axis on which a value has a place in per cent of its width.

    Attributes:
        ticks: places and texts.
        low, high: what the ends stand for.
        kind: "log", or "margins" for a scale that is even near 0 and logarithmic far from it.
    """

    ticks: tuple[tuple[float, str], ...]
    low: float
    high: float
    kind: str = "log"

    def _even(self, value: float) -> float:
        return math.log(value) if self.kind == "log" else math.asinh(value)

    def at(self, value: float) -> float:
        """The place of a value; of one beyond an end, that end."""
        low, high = self._even(self.low), self._even(self.high)
        place = (self._even(min(max(value, self.low), self.high)) - low) / (high - low)
        return round(2 + 96 * place, 2)

    def beyond(self, value: float) -> str:
        """Which end a value lies beyond, if any."""
        return "left" if value < self.low else "right" if value > self.high else ""


def ratios(values: list[float], most: float = 20, few: bool = False) -> Axis:
    """A logarithmic axis for ratios with 1 on it; it ends at most at 1 / most and most.

    Args:
        few: three ticks at most, for a narrow column.
    """
    known = [value for value in values if not pd.isna(value) and value > 0] + [1.0]
    low, high = max(min(known) / 1.1, 1 / most), min(max(known) * 1.1, most)
    low, high = min(low, 0.9), max(high, 1.1)
    inside = [value for value in NICE if low <= value <= high]
    if len(inside) < 2:
        inside = [value for value in (0.7, 0.8, 0.9, 1, 1.1, 1.25, 1.4) if low <= value <= high]
    axis = Axis((), low, high)
    inside = thinned({value: axis.at(value) for value in inside}, 1, 25 if few else 13)
    return Axis(tuple((axis.at(value), f"\u00d7{value:g}") for value in inside), low, high)


def thinned(places: dict[float, float], kept: float, least: float) -> list[float]:
    """The values whose places are at least so far apart that their texts do not touch, one of them always kept.

    Args:
        places: of each value.
    """
    found = [kept]
    for value in sorted(places, key=lambda value: -abs(places[value] - places.get(kept, 50))):
        if all(abs(places[value] - places.get(other, 50)) >= least for other in found):
            found.append(value)
    return sorted(found)


def margins(values: list[float], most: float = 30) -> Axis:
    """An axis for effects in units of their margin, with 0 in the middle."""
    known = [abs(value) for value in values if not pd.isna(value)] + [2.0]
    end = min(max(known) * 1.1, most)
    axis = Axis((), -end, end, "margins")
    inside = [value for value in (-10, -3, -1, 0, 1, 3, 10) if abs(value) <= end]
    return Axis(tuple((axis.at(value), f"{value:+g}" if value else "0") for value in inside), -end, end, "margins")


def drawn(axis: Axis, mean: float, low: float, high: float, seeds: list[float], words: str) -> dict:
    """A row's marks: the mean, its interval and every seed, with what they say in words."""
    marks: dict = {"words": words, "mean": None, "span": None, "seeds": [axis.at(value) for value in seeds]}
    if not pd.isna(mean):
        marks |= {"mean": axis.at(mean), "beyond": axis.beyond(mean)}
    if not pd.isna(low) and not pd.isna(high):
        left, right = axis.at(low), axis.at(high)
        marks["span"] = (left, round(right - left, 2))
    return marks


def _ratio_forest(panels: dict[int, pd.DataFrame], few: bool) -> dict:
    """Ratios of FID, a row a comparison and a column a step count, on one axis."""
    values = [float(value) for rows in panels.values() for name in ("ratio", "low", "high") for value in rows[name]]
    axis = ratios(values, few=few)
    names = list(dict.fromkeys(words for rows in panels.values() for words in rows.comparison))
    by_words = {steps: {row.comparison: row for row in rows.itertuples()} for steps, rows in panels.items()}
    lines = []
    for words in names:
        cells = []
        for steps in panels:
            row = by_words[steps].get(words)
            if row is None:
                cells.append(None)
                continue
            seeds = list(json.loads(row.seeds).values())
            said = drawn(axis, row.ratio, row.low, row.high, seeds, row.text)
            proved = not pd.isna(row.low) and not row.low <= 1 <= row.high
            cells.append(said | {"value": f"\u00d7{number(row.ratio)}", "proved": proved})
        lines.append({"label": words, "cells": cells})
    return {"axis": axis, "steps": list(panels), "rows": lines, "one": axis.at(1.0)}


def effect_forests(table: pd.DataFrame) -> dict[str, dict]:
    """What each factor buys: one after the other, in pairs of rows, and both in short at one step count.

    Args:
        table: that of effects.
    """
    found = {}
    network = chained(table)
    if network is not None:
        chains = {steps: chain(table, steps, network) for steps in STEPS}
        panels = {steps: shown(rows, [CHAIN[f] for f in rows.factor]) for steps, rows in chains.items()}
        found["factors"] = _ratio_forest(panels, few=True) | {"network": network_name(network)}
    pairs = {steps: comparisons(table, steps) for steps in STEPS}
    worded = {
        steps: shown(rows, [words_of(row) for _, row in rows.iterrows()]) for steps, rows in pairs.items() if len(rows)
    }
    if worded:
        found["effects"] = _ratio_forest(worded, few=True)
    short = in_short(table, SHORT)
    if len(short):
        found["short"] = _ratio_forest({SHORT: short}, few=False)
    return found
