"""Claims of two runs: which verdicts cannot both be right."""

import pandas as pd

from diffbench.tables.schema import Column
from diffbench.tables.store import framed

DECIDED = ("supported", "contradicted", "equivalent")
OPPOSED = ({"supported", "contradicted"}, {"supported", "equivalent"})
CLAIMS = (
    Column("claim", "string", "", "its id in workflow/claims.yaml"),
    Column("number", "integer", "", "its number there"),
    Column("title", "string", "", "the claim in short"),
    Column("left", "string", "", "verdict of the left run; empty where it has none"),
    Column("right", "string", "", "verdict of the right run"),
    Column("effect_left", "number", "", "mean effect of the part that decides on the left"),
    Column("effect_right", "number", "", "the same on the right"),
    Column("unit", "string", "", "log ratio or difference"),
    Column("says", "string", "", "agrees, disagrees, or why the two do not speak to each other"),
)


def opposed(left: str, right: str) -> bool:
    """Whether two verdicts cannot both be right."""
    return {left, right} in OPPOSED


def _says(left: str, right: str, redefined: bool) -> str:
    if not left or not right:
        return "only right" if not left else "only left"
    if redefined:
        return "another test"
    if opposed(left, right):
        return "disagrees"
    if left in DECIDED and right in DECIDED:
        return "agrees" if left == right else "both can be right"
    return "both undecided" if left not in DECIDED and right not in DECIDED else "decided by one"


def _definitions(frames: dict[str, pd.DataFrame]) -> dict[str, dict[str, tuple]]:
    """By claim and part: the test, metric, direction and margin."""
    found: dict[str, dict[str, tuple]] = {}
    for row in frames["claim_parts"].to_dict("records") if "claim_parts" in frames else []:
        margin = None if pd.isna(row["margin"]) else round(row["margin"], 12)
        found.setdefault(row["claim"], {})[row["part"]] = (row["test"], row["metric"], row["direction"], margin)
    return found


def compare_claims(left: dict[str, pd.DataFrame], right: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The table of claims, columns CLAIMS, from the tables of two runs."""
    sides = [{row["claim"]: row for row in own["claims"].to_dict("records")} for own in (left, right)]
    defined = [_definitions(own) for own in (left, right)]
    rows = []
    for claim in {**sides[0], **sides[1]}:
        a, b = (side.get(claim, {}) for side in sides)
        parts = [own.get(claim, {}) for own in defined]
        redefined = any(parts[0][name] != parts[1][name] for name in set(parts[0]) & set(parts[1]))
        either = a or b
        verdicts = a.get("verdict", ""), b.get("verdict", "")
        rows.append(
            {"claim": claim, "number": either["number"], "title": either["title"], "left": verdicts[0],
             "right": verdicts[1], "effect_left": a.get("effect"), "effect_right": b.get("effect"),
             "unit": either.get("unit"), "says": _says(*verdicts, redefined)}
        )  # fmt: skip
    return framed(CLAIMS, sorted(rows, key=lambda row: (row["number"], row["claim"])))
