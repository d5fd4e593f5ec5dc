"""workflow/claims.yaml and the tables of a run into a verdict for each claim."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from diffbench.claims.load import Claim, Part
from diffbench.claims.measures import Context, Frames, Measured, Untestable, as_seen_by, measure
from diffbench.claims.verdicts import (
    CONTRADICTED,
    DESCRIPTIVE,
    INCONCLUSIVE,
    INSUFFICIENT,
    TESTS,
    UNTESTABLE,
    Judged,
    P,
    all_of,
    any_of,
    holm,
    judge,
)
from diffbench.config.models import Params
from diffbench.tables import schema, store

COMBINE: dict[str, Callable[[Sequence[P]], P]] = {"all": all_of, "any": any_of}


@dataclass(frozen=True)
class Result:
    """What came of one part: its verdict, and its test and effects where there are any."""

    part: Part
    decides: bool
    verdict: str
    judged: Judged | None = None
    measured: Measured | None = None
    note: str = ""


def expand(part: Part, have: set[str]) -> tuple[list[Part], str]:
    """A part that uses each pair of rows as one part a pair that the run has, and the rows left out in words."""
    if part.use != "each":
        return [part], ""
    present = [pair for pair in part.rows if have.issuperset(pair)]
    absent = [name for pair in part.rows for name in pair if name not in have]
    left_out = f"this run has no {', '.join(dict.fromkeys(absent))}" if absent else ""
    if not present:
        return [replace(part, use="first")], ""
    named = [(f"{part.name}: {' against '.join(pair)}", pair) for pair in present]
    return [replace(part, name=name, rows=(pair,), use="first") for name, pair in named], left_out


def variability(found: Measured, part: Part) -> float:
    """Log of the ratio of the standard deviations over seeds of the two sides, above 0 in the direction claimed."""
    left, right = (np.std(side.dropna(), ddof=1) for side in found.sides[0])
    if not (left > 0 and right > 0):
        return math.nan
    return float(np.log(left / right) * (-1 if part.direction == "lower" else 1))


def examine(context: Context, part: Part, decides: bool, run_seeds: int) -> Result:
    """Measure and test one part."""
    if run_seeds < 2:
        return Result(part, decides, INSUFFICIENT, note=f"the run has {run_seeds} seed, at least 2 are needed")
    try:
        found = measure(context, part)
    except Untestable as error:
        return Result(part, decides, UNTESTABLE, note=str(error))
    whole, note = found.whole, found.note
    if len(whole) < run_seeds:
        note = "; ".join(filter(None, [note, f"{run_seeds - len(whole)} of {run_seeds} seeds failed or have no value"]))
    if len(whole) < 2:
        return Result(part, decides, INSUFFICIENT, measured=found, note=note)
    if part.test == "variability":
        ratio = variability(found, part)
        lost = " and ".join(f"{int(side.isna().sum())}" for side in found.sides[0])
        note = "; ".join(filter(None, [note, f"failed on the left and on the right: {lost} of {run_seeds} seeds"]))
        judged = Judged(len(whole), ratio, math.nan, math.nan, P(), DESCRIPTIVE, None, None)
        return Result(part, decides, DESCRIPTIVE, judged, found, note)
    test = part.test if part.test in TESTS else "difference"
    judged = judge(test, whole.tolist(), part.bound)
    tested = decides or bool(part.explains)
    return Result(part, decides, judged.verdict if tested else DESCRIPTIVE, judged, found, note)


def undecided(claim: Claim, results: list[Result]) -> str:
    """The verdict of a claim that its p-values leave open: what stands in the way of one."""
    found = [result.verdict for result in results]
    if claim.combine == "any" and INCONCLUSIVE in found:
        return INCONCLUSIVE  # one of those that can be tested may still be enough
    if not found or UNTESTABLE in found:
        return UNTESTABLE
    return INSUFFICIENT if INSUFFICIENT in found else INCONCLUSIVE


def pivot(claim: Claim, results: list[Result]) -> Result | None:
    """The part that decides: the least supported where all have to be, the most supported where one is enough."""
    tested = [result for result in results if result.judged]
    if not tested:
        return None
    if claim.combine == "any":
        return min(tested, key=lambda result: result.judged.p.supported)
    return max(tested, key=lambda result: (result.verdict == CONTRADICTED, result.judged.p.supported))


def effect_columns(part: Part, judged: Judged | None) -> dict[str, Any]:
    """The columns that claims and parts share."""
    row: dict[str, Any] = {"margin": part.bound if part.test in TESTS else None, "unit": part.unit}
    if judged is None:
        return row
    row |= {"n": judged.n, "effect": judged.effect, "low": judged.low, "high": judged.high}
    tested = part.test in TESTS
    return row | {"detectable": judged.detectable, "seeds_needed": judged.needed} if tested else row


def part_row(claim: Claim, result: Result) -> dict[str, Any]:
    """A row of the table claim_parts."""
    part, judged, found = result.part, result.judged, result.measured
    p = judged.p if judged and part.test in TESTS else P(*[math.nan] * 3)
    return {
        "number": claim.number,
        "claim": claim.id,
        "part": part.name,
        "decides": result.decides,
        "explains": part.explains,
        "test": part.test,
        "verdict": result.verdict,
        "measure": part.measure,
        "metric": part.metric,
        "arms": any(side.get("arm") for side in (part.left, part.right)),
        "direction": part.direction,
        **effect_columns(part, judged),
        "p_supported": p.supported,
        "p_contradicted": p.contradicted,
        "p_equivalent": p.equivalent,
        "seeds": found.seeds if found else "[]",
        "compared": found.compared if found else "",
        "note": result.note,
        "why": " ".join(part.why.split()),
    }


def claim_row(claim: Claim, results: list[Result], note: str, run: str) -> dict[str, Any]:
    """A row of the table claims, without Holm's correction."""
    deciding = [result for result in results if result.decides]
    row: dict[str, Any] = {
        "number": claim.number,
        "claim": claim.id,
        "title": claim.title,
        "quotes": json.dumps(claim.quotes, ensure_ascii=False),
        "combine": claim.combine,
        "preset": claim.preset,
        "part": "",
    }
    notes = [note, claim.untested, remarks(deciding)]
    if results and not deciding:
        notes += ["described only: no part of it is tested", remarks(results)]
    row["verdict"] = undecided(claim, deciding if deciding else [r for r in results if r.verdict == INSUFFICIENT])
    shown = pivot(claim, deciding)
    if shown is not None:
        p = COMBINE[claim.combine]([r.judged.p if r.judged else P() for r in deciding])
        row |= {f"p_{name}": value for name, value in vars(p).items()}
        row |= effect_columns(shown.part, shown.judged) | {"part": shown.part.name}
        decided = p.verdict()
        row["verdict"] = row["verdict"] if decided == INCONCLUSIVE else decided
    if row["verdict"] == UNTESTABLE and claim.preset not in ("", run):
        notes = [f"the preset {claim.preset} tests it"]  # which rows are missing stands with the parts
    row["seeds_needed"] = needed(claim, deciding) if row["verdict"] == INCONCLUSIVE else None
    return row | {"note": "; ".join(filter(None, (" ".join(text.split()) for text in notes)))}


def remarks(results: list[Result]) -> str:
    """The notes of parts, each once, with the parts it is about unless it is about all."""
    about: dict[str, list[str]] = {}
    for result in results:
        about.setdefault(result.note, []).append(result.part.name)
    said = [
        note if len(names) == len(results) else f"{note} ({', '.join(names)})" for note, names in about.items() if note
    ]
    return "; ".join(said)


def needed(claim: Claim, results: list[Result]) -> int | None:
    """Seeds that an open claim needs: the most that an open part does, the least where one part is enough."""
    counts = [r.judged.needed for r in results if r.judged and r.verdict == INCONCLUSIVE]
    known = [count for count in counts if count is not None]
    if claim.combine == "any":
        return min(known, default=None)
    return max(known) if known and len(known) == len(counts) else None


def corrected(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with the verdict after Holm's correction, of each kind of verdict over the claims that were tested.

    So the chance of a wrong "supported" anywhere in the table is at most 5%, and that of the others likewise. The
    correction only takes away: a refuted claim does not become a supported one because its refutation is not certain.
    """
    tested = [row for row in rows if "p_supported" in row]
    by_name = {name: holm([row[f"p_{name}"] for row in tested]) for name in vars(P())}
    adjusted = [P(**{name: values[i] for name, values in by_name.items()}) for i in range(len(tested))]
    found = {row["number"]: p for row, p in zip(tested, adjusted, strict=True)}
    return [
        row
        | {
            "verdict_holm": found[row["number"]].weakened(row["verdict"])
            if row["verdict"] in schema.DECIDED
            else row["verdict"]
        }
        for row in rows
    ]


def judged_by(claims: list[Claim], frames: Frames, params: Params) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows of the tables claims and claim_parts of a run, as its tables have them."""
    own = {key: row.samplers[0] for key, row in params.paradigms.items()}
    context = Context(frames, own)
    rows, part_rows = [], []
    for claim in claims:
        results, notes = [], []
        for declared in claim.parts:
            decides = declared.decides(params.data.source)
            parts, left_out = expand(declared, set(own))
            notes.append(left_out)
            results += [examine(context, part, decides, len(params.seeds)) for part in parts]
        rows.append(claim_row(claim, results, "; ".join(dict.fromkeys(filter(None, notes))), params.name))
        part_rows += [part_row(claim, result) for result in results]
    return corrected(rows), part_rows


def beside(rows: list[dict[str, Any]], others: list[list[dict[str, Any]]], *names: str) -> list[dict[str, Any]]:
    """Rows with what the other judges find for each, as JSON lists; fragile where one of them gives another verdict."""
    found = []
    for place, row in enumerate(rows):
        same = [judge[place] for judge in others]
        lists = {f"{name}_others": json.dumps([_plain(one.get(name)) for one in same]) for name in names}
        found.append(row | lists | {"fragile": any(one["verdict"] != row["verdict"] for one in same)})
    return found


def judge_all(claims: list[Claim], frames: Frames, params: Params) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables claims and claim_parts of a run: its verdicts, and whether another classifier would turn them."""
    rows, part_rows = judged_by(claims, frames, params)
    judges = sorted({int(judge) for judge in frames["judges"].judge})
    others = [judged_by(claims, as_seen_by(judge, frames), params) for judge in judges]
    return (
        store.frame("claims", beside(rows, [one for one, _ in others], "verdict", "effect")),
        store.frame("claim_parts", beside(part_rows, [one for _, one in others], "verdict", "effect")),
    )


def _plain(value: Any) -> Any:
    return None if value is None or (isinstance(value, float) and math.isnan(value)) else value
