"""Forest plots as lists that a phone can show: an axis, and in each row marks at percentages of its width."""

import json
import math
from dataclasses import dataclass

import pandas as pd

from diffbench.report import effects
from diffbench.report.finding import number

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
    if few and len(inside) > 3:
        inside = sorted({inside[0], 1, inside[-1]})
    axis = Axis((), low, high)
    return Axis(tuple((axis.at(value), f"\u00d7{value:g}") for value in inside), low, high)


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
        table: effects.
    """
    found = {}
    chains = {steps: effects.chain(table, steps) for steps in effects.STEPS}
    whole = all(len(rows) for rows in chains.values())
    if whole:
        panels = {steps: effects.shown(rows, [effects.CHAIN[f] for f in rows.factor]) for steps, rows in chains.items()}
        found["factors"] = _ratio_forest(panels, few=True)
    pairs = {steps: effects.comparisons(table, steps) for steps in effects.STEPS}
    worded = {
        steps: effects.shown(rows, [effects.words_of(row) for _, row in rows.iterrows()])
        for steps, rows in pairs.items()
        if len(rows)
    }
    if worded:
        found["effects"] = _ratio_forest(worded, few=True)
    short = effects.in_short(table, effects.SHORT)
    if len(short):
        found["short"] = _ratio_forest({effects.SHORT: short}, few=False)
    return found
