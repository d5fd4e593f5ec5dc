"""The section on the article's claims: a row and a card for each, with every seed as a dot."""

import json
import math

import pandas as pd

from diffbench.report.effects import Axis, drawn, margins
from diffbench.report.finding import DASH, UNTESTED, counted, counts, number

ICONS = {
    "supported": "\u2713",
    "partly supported": "\u00bd",
    "contradicted": "\u2717",
    "equivalent": "\u2248",
    "inconclusive": "?",
    "insufficient seeds": "\u2026",
    UNTESTED: "\u2013",
    "descriptive": "\u00b7",
}
BY_MEASURE = {"area": "training", "noise": "noise", "straightness": "noise"}  # the section that shows it
BY_METRIC = {
    "cost": ("fid", "nfe", "seconds_per_1000"),
    "guidance-trade": ("recall", "digit_error", "weight_error", "slant_error", "joint_error"),
}
TESTS = {
    "difference": "better by more than the margin",
    "noninferior": "worse by no more than the margin",
    "equivalent": "within the margin either way",
    "variability": "described",
    "descriptive": "described",
}


def effect_text(value: float | None, unit: str) -> str:
    """An effect as text: a log ratio as the factor it stands for, a difference with its sign."""
    if value is None or pd.isna(value):
        return DASH
    if unit == "log ratio":
        return f"\u00d7{number(math.exp(value))}"
    return f"{'-' if value < 0 else '+' if value > 0 else ''}{number(abs(value))}"


def bounds(test: str, margin: float) -> list[float]:
    """The effects on which the verdict of a test turns."""
    return {"difference": [-margin, margin], "noninferior": [-margin], "equivalent": [-margin, margin]}.get(test, [])


def criterion(test: str, margin: float, unit: str) -> str:
    """Where the interval of an effect has to lie for "supported", as text; empty for what is only described."""
    limits = [] if pd.isna(margin) else [effect_text(limit, unit) for limit in bounds(test, margin)]
    if not limits:
        return ""
    said = {"noninferior": f"above {limits[0]}, no worse", "equivalent": f"{limits[0]} to {limits[-1]}"}
    return said.get(test, f"above {limits[-1]}")


def among(claim: dict, parts: list[dict]) -> str:
    """Of how many comparisons a claim's effect is one, in words; empty where it is the only one.

    The verdict is corrected for their number and the interval is not, so it may leave out 0 and decide nothing.
    """
    deciding = sum(row["claim"] == claim["claim"] and bool(row["decides"]) for row in parts)
    return f"{'strongest' if claim['combine'] == 'any' else 'weakest'} of {deciding}" if deciding > 1 else ""


def explains(part: dict) -> bool:
    """Whether a part was measured, and says what of its claim's effect is due to one change."""
    return bool(part["explains"]) and not pd.isna(part["effect"])


def in_margins(row: dict, seeds: list[float]) -> dict[str, float | list[float]]:
    """An effect, its interval and the seeds' effects in units of the margin."""
    return {name: row[name] / row["margin"] for name in ("effect", "low", "high")} | {
        "seeds": [value / row["margin"] for value in seeds]
    }


def marks(row: dict, seeds: list[float], axis: Axis) -> dict:
    """Where the interval, the mean and every seed of an effect stand on the axis of margins."""
    words = (
        f"{effect_text(row['effect'], row['unit'])}; by seed {', '.join(effect_text(v, row['unit']) for v in seeds)}"
    )
    if not pd.isna(row["low"]):
        words += f"; 90% interval {interval_words(row)}"
    own = in_margins(row, seeds)
    return drawn(axis, own["effect"], own["low"], own["high"], own["seeds"], words) | {"test": row["test"]}


def needed(row: dict) -> str:
    """What it would take to decide, in words; empty where it is decided."""
    if row["verdict"] != "inconclusive":
        return ""
    if pd.isna(row["seeds_needed"]):
        return "more than 1,000 seeds would be needed, if the mean seen is the truth"
    return f"about {int(row['seeds_needed']):,} seeds would be needed, if the mean seen is the truth"


def effects_of(row: dict) -> list[float]:
    """The effect of each seed that has one."""
    return [entry["effect"] for entry in json.loads(row["seeds"]) if entry["effect"] is not None]


def can_draw(row: dict) -> bool:
    """Whether a part has an effect on several seeds and a margin to hold it against."""
    return len(effects_of(row)) > 1 and not pd.isna(row["effect"]) and not pd.isna(row["margin"]) and row["margin"] > 0


def comparison(row: dict, axis: Axis) -> dict:
    """A part as the template shows it."""
    seeds = json.loads(row["seeds"])
    unit = row["unit"]
    return row | {
        "icon": ICONS.get(row["verdict"], ""),
        "asks": TESTS[row["test"]],
        "effect_text": effect_text(row["effect"], unit),
        "interval_text": interval_words(row),
        "criterion": criterion(row["test"], row["margin"], unit),
        "margin_text": "" if pd.isna(row["margin"]) else effect_text(row["margin"], unit),
        "detectable_text": "" if pd.isna(row["detectable"]) else effect_text(row["detectable"], unit),
        "seeds_text": ", ".join(f"{entry['seed']}: {effect_text(entry['effect'], unit)}" for entry in seeds),
        "needed": needed(row),
        "marks": marks(row, effects_of(row), axis) if can_draw(row) else None,
    }


def interval_words(row: dict) -> str:
    """The 90% interval of an effect, empty where there is none."""
    return (
        ""
        if pd.isna(row["low"])
        else f"{effect_text(row['low'], row['unit'])} to {effect_text(row['high'], row['unit'])}"
    )


def evidence(part: dict) -> str:
    """The section of the page that shows what a part compares: one with a figure, or a table where none draws it."""
    if part["arms"]:
        return "arms"
    by_metric = {metric: name for name, metrics in BY_METRIC.items() for metric in metrics}
    return BY_MEASURE.get(part["measure"]) or by_metric.get(part["metric"], "rows")


def section(frames: dict[str, pd.DataFrame], run: str) -> dict:
    """What the template needs: the verdicts counted, the axis, and the claims in order with their parts.

    ``own`` is the claim that the run was made for, if there is just one.
    """
    parts = frames["claim_parts"].to_dict("records")
    able = [in_margins(row, effects_of(row)) for row in parts if can_draw(row)]
    axis = margins([value for own in able for value in (own["effect"], *own["seeds"])])
    cards = []
    for claim in frames["claims"].to_dict("records"):
        own = [comparison(row, axis) for row in parts if row["number"] == claim["number"]]
        shown = [row for row in own if row["part"] == claim["part"]] or own[:1]
        cards.append(
            claim
            | {
                "tested": claim["verdict"] != UNTESTED,
                "icon": ICONS[claim["verdict"]],
                "icon_holm": ICONS[claim["verdict_holm"]],
                "quotes": json.loads(claim["quotes"]),
                "verdict_others": json.loads(claim["verdict_others"]),
                "effect_text": effect_text(claim["effect"], claim["unit"]),
                "needed": needed(claim),
                "interval_text": interval_words(claim),
                "evidence": evidence(shown[0]) if shown else "",
                "among": among(claim, parts) if claim["part"] else "",
                "criterion": criterion(shown[0]["test"], claim["margin"], claim["unit"]) if shown else "",
                "marks": shown[0]["marks"] if shown and not pd.isna(claim["effect"]) else None,
                "parts": own,
                "shown": shown,
                "others": [row for row in own if row["part"] != claim["part"]] if claim["part"] else own[1:],
            }
        )
    bounds_ = {"zero": axis.at(0), "below": axis.at(-1), "above": axis.at(1)}
    fragile = [card["number"] for card in cards if card["fragile"]]
    own = [card for card in cards if card["preset"] == run]
    return {
        "counts": counts(frames["claims"]), "groups": counted(frames["claims"]), "cards": cards, "axis": axis,
        "untested": sum(not card["tested"] for card in cards), "fragile": fragile, "icons": ICONS,
        "own": own[0] if len(own) == 1 else None, **bounds_,
    }  # fmt: skip
