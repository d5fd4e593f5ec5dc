"""The section on the article's claims: a row and a card for each, with every seed as a dot."""

import json
import math

import pandas as pd
from markupsafe import Markup, escape

from diffbench.report.finding import DASH, number, tally

ICONS = {
    "supported": "\u2713",
    "partly supported": "\u00bd",
    "contradicted": "\u2717",
    "equivalent": "\u2248",
    "inconclusive": "?",
    "insufficient seeds": "\u2026",
    "not testable here": "\u2013",
    "descriptive": "\u00b7",
}
BY_MEASURE = {"area": "training", "noise": "noise", "straightness": "noise"}  # the section that shows it
BY_METRIC = {
    "cost": ("fid", "nfe", "seconds_per_1000"),
    "guidance-trade": ("recall", "digit_error", "weight_error", "slant_error", "joint_error"),
}
WIDTH, HEIGHT, EDGE = 300, 46, 10  # of a dot plot, in pixels
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


def plot(row: dict, effects: list[float]) -> Markup:
    """Every seed as a dot over the mean's 90% interval, with 0 (solid) and the margins (dashed), as SVG."""
    marks = bounds(row["test"], row["margin"])
    span = [*effects, row["low"], row["high"], 0.0, *marks]
    span = [value for value in span if not pd.isna(value)]
    low, high = min(span), max(span)
    scale = (WIDTH - 2 * EDGE) / ((high - low) or 1.0)

    def x(value: float) -> str:
        return f"{EDGE + (value - low) * scale:.1f}"

    words = f"Effects by seed: {', '.join(effect_text(value, row['unit']) for value in effects)}"
    if not pd.isna(row["low"]):
        words += f"; 90% interval {effect_text(row['low'], row['unit'])} to {effect_text(row['high'], row['unit'])}"
    parts = [f'<line class="zero" x1="{x(0)}" x2="{x(0)}" y1="4" y2="42"/>']
    parts += [f'<line class="bound" x1="{x(mark)}" x2="{x(mark)}" y1="4" y2="42"/>' for mark in marks if mark]
    if not pd.isna(row["low"]):
        parts.append(f'<line class="span" x1="{x(row["low"])}" x2="{x(row["high"])}" y1="32" y2="32"/>')
        parts.append(f'<circle class="mean" cx="{x(row["effect"])}" cy="32" r="4"/>')
    parts += [f'<circle class="seed" cx="{x(value)}" cy="15" r="4"/>' for value in effects]
    return Markup(  # numbers of our own making; the words are escaped
        f'<svg class="dots" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" '
        f'aria-label="{escape(words)}">{"".join(parts)}</svg>'
    )


def needed(row: dict) -> str:
    """What it would take to decide, in words; empty where it is decided."""
    if row["verdict"] != "inconclusive":
        return ""
    if pd.isna(row["seeds_needed"]):
        return "more than 1,000 seeds would be needed, if the mean seen is the truth"
    return f"about {int(row['seeds_needed']):,} seeds would be needed, if the mean seen is the truth"


def comparison(row: dict) -> dict:
    """A part as the template shows it."""
    seeds = json.loads(row["seeds"])
    effects = [entry["effect"] for entry in seeds if entry["effect"] is not None]
    unit = row["unit"]
    drawn = len(effects) > 1 and not pd.isna(row["effect"])
    return row | {
        "icon": ICONS.get(row["verdict"], ""),
        "asks": TESTS[row["test"]],
        "effect_text": effect_text(row["effect"], unit),
        "interval_text": interval_words(row),
        "margin_text": "" if pd.isna(row["margin"]) else effect_text(row["margin"], unit),
        "detectable_text": "" if pd.isna(row["detectable"]) else effect_text(row["detectable"], unit),
        "seeds_text": ", ".join(f"{entry['seed']}: {effect_text(entry['effect'], unit)}" for entry in seeds),
        "needed": needed(row),
        "plot": plot(row, effects) if drawn else "",
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


def section(frames: dict[str, pd.DataFrame]) -> dict:
    """What the template needs: the count of verdicts, and the claims in order with their parts."""
    parts = frames["claim_parts"].to_dict("records")
    cards = []
    for claim in frames["claims"].to_dict("records"):
        own = [comparison(row) for row in parts if row["number"] == claim["number"]]
        shown = [row for row in own if row["part"] == claim["part"]] or own[:1]
        cards.append(
            claim
            | {
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
                "shown": shown,
                "others": [row for row in own if row["part"] != claim["part"]] if claim["part"] else own[1:],
            }
        )
    return {"tally": tally(frames["claims"]), "cards": cards}
