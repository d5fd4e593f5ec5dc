"""Reading and checking workflow/claims.yaml: one line for each mistake, before anything is judged."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from diffbench.claims.verdicts import DESCRIPTIVE, TESTS
from diffbench.config.presets import CLAIMS, preset_names
from diffbench.data.sources import SOURCES
from diffbench.errors import UserError
from diffbench.runtime.yaml_file import read_yaml

CELL = ("sampler", "steps", "guidance", "arm")
# What an objective is made of, as parts may explain.
FACTORS = ("noise levels in training", "grid in sampling", "noise levels and grid", "target and path",
           "pairing of noise and images")  # fmt: skip
# What each measure may be told, what it must be, and the scale it has where it leaves no choice.
MEASURES: dict[str, tuple[tuple[str, ...], tuple[str, ...], str | None]] = {
    "cell": ((*CELL, "from_real"), ("steps", "guidance"), None),
    "cost": ((*CELL, "stage"), ("stage",), None),
    "straightness": (("over_exact",), (), None),
    "area": ((), (), "ratio"),
    "noise": (("axis", "low", "high"), ("axis", "low", "high"), "ratio"),
    "spread": (("sampler", "over", "guidance", "arm"), ("over", "guidance"), "ratio"),
    "slope": (("sampler", "over", "guidance", "arm"), ("over", "guidance"), "difference"),
    "trend": (("sampler", "steps"), ("steps",), "difference"),
    "monotone": (("sampler", "steps"), ("steps",), "difference"),
}
KEYS = ("name", "test", "measure", "metric", "direction", "scale", "margin", "rows", "use", "left", "right", "against",
        "described_on", "explains", "why")  # fmt: skip
CLAIM_KEYS = ("number", "title", "quotes", "combine", "parts", "untested", "why", "preset")
ALLOWED = {
    "test": (*TESTS, "variability", DESCRIPTIVE),
    "measure": tuple(MEASURES),
    "direction": ("lower", "higher"),
    "scale": ("ratio", "difference"),
    "use": ("first", "mean", "each", "slope", "width"),
    "combine": ("all", "any"),
    "axis": ("t", "log_snr"),
    "stage": ("train", "sample"),
    "described_on": tuple(SOURCES),
    "explains": FACTORS,
}


@dataclass(frozen=True, kw_only=True)
class Part:
    """One comparison of a claim.

    ``where`` says which numbers the measure reads, ``left`` and ``right`` what differs between the sides. Each of
    ``rows`` names a row of params.yaml, or two that are compared; ``use`` takes the first the run has, the mean over
    those it has, each as a part of its own, "slope", what the effect changes with each doubling of the networks' MACs,
    or "width", how many octaves of learning rate come within 10% of the best on either side. ``against`` replaces the
    right side by a number or, "real", by what real test images score. A ``margin`` on the scale "ratio" is a share: 0.1
    stands for 10%. ``explains`` names the factor whose share of the claim's effect the part tests; such a part does not
    decide.
    """

    name: str
    test: str
    measure: str
    metric: str
    direction: str
    scale: str
    rows: tuple[tuple[str, ...], ...]
    why: str
    margin: float = 0.0
    use: str = "first"
    where: dict[str, Any] = field(default_factory=dict)
    left: dict[str, Any] = field(default_factory=dict)
    right: dict[str, Any] = field(default_factory=dict)
    against: float | str | None = None
    described_on: str = ""
    explains: str = ""

    @property
    def bound(self) -> float:
        """The margin in the unit of the effects: a log ratio, or that of the metric."""
        return math.log1p(self.margin) if self.unit == "log ratio" else self.margin

    @property
    def unit(self) -> str:
        """The unit of the effects; of a width it is octaves, a difference, though the metric is compared by ratio."""
        return "log ratio" if self.scale == "ratio" and self.use != "width" else "difference"

    def decides(self, source: str) -> bool:
        """Whether the part enters the claim's verdict where the data are those of ``source``."""
        return self.test in TESTS and self.described_on != source and not self.explains


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim: its words, and its parts, all of which or any of which it takes; ``untested`` says why it has none.

    ``preset`` names the preset that was made to test it, empty where the main ones do.
    """

    id: str
    number: int
    title: str
    quotes: tuple[str, ...]
    why: str = ""
    combine: str = "all"
    parts: tuple[Part, ...] = ()
    untested: str = ""
    preset: str = ""


def _one_of(where: str, key: str, value: Any) -> Iterator[str]:
    if value not in ALLOWED[key]:
        yield f"{where}.{key}: {value!r}; allowed: {', '.join(ALLOWED[key])}"


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _steps(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _arm(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        value.format(steps=1)
    except (KeyError, IndexError, ValueError):
        return False
    return True


FITS = {
    "sampler": (lambda v: isinstance(v, str) and v, "a sampler's name, or 'own'"),
    "arm": (_arm, "an arm's name, in which {steps} stands for the step count"),
    "guidance": (lambda v: v == "chosen" or _number(v), "a number or 'chosen'"),
    "over": (lambda v: isinstance(v, list) and len(v) > 1 and all(map(_steps, v)), "a list of two or more step counts"),
    "low": (_number, "a number"),
    "high": (_number, "a number"),
    "from_real": (lambda v: isinstance(v, bool), "true or false"),
    "over_exact": (lambda v: isinstance(v, bool), "true or false"),
    "axis": (lambda v: v in ALLOWED["axis"], "t or log_snr"),
    "stage": (lambda v: v in ALLOWED["stage"], "train or sample"),
}


def _check_where(where: str, given: dict, allowed: tuple[str, ...], lists: bool) -> Iterator[str]:
    for key, value in given.items():
        if key not in allowed:
            yield f"{where}.{key}: unknown key; allowed: {', '.join(allowed) or 'none'}"
        elif key == "steps":
            items = value if isinstance(value, list) and lists else [value]
            if not items or not all(map(_steps, items)):
                wanted = "a step count or a list of them, the first that the run has" if lists else "a step count"
                yield f"{where}.steps: {value!r}; allowed: {wanted}"
        elif not FITS[key][0](value):
            yield f"{where}.{key}: {value!r}; allowed: {FITS[key][1]}"


def _check_rows(where: str, part: dict) -> Iterator[str]:
    rows = part["rows"]
    alone = "against" in part or part["measure"] in ("trend", "monotone")
    wanted = 1 if alone else 2
    shape = isinstance(rows, list) and rows and all(isinstance(row, list) and len(row) == wanted for row in rows)
    if not shape or not all(isinstance(name, str) for row in rows for name in row):
        said = "[[row], ...], because one side is compared with no other row" if alone else "[[left, right], ...]"
        yield f"{where}.rows: {rows!r}; allowed: {said}"


def _check_part(where: str, part: Any) -> Iterator[str]:
    """Mistakes of one part."""
    if not isinstance(part, dict):
        yield f"{where}: {part!r}; allowed: a mapping"
        return
    needed = ["name", "test", "measure", "metric", "direction", "rows", "why"]
    needed += ["margin"] if part.get("test") in TESTS else []
    missing = [key for key in needed if key not in part]
    yield from (f"{where}.{key}: missing" for key in missing)
    mistakes = [m for key in ("test", "measure", "direction", "scale", "use", "described_on", "explains") if key in part
                for m in _one_of(where, key, part[key])]  # fmt: skip
    yield from mistakes
    if missing or mistakes:
        return
    allowed, required, scale = MEASURES[part["measure"]]
    given = {key: value for key, value in part.items() if key not in KEYS}
    for key in sorted(set(given) - set(allowed)):
        yield f"{where}.{key}: unknown key; allowed: {', '.join((*KEYS, *allowed))}"
    yield from _check_where(where, {k: v for k, v in given.items() if k in allowed}, allowed, lists=True)
    sides = {side: part.get(side, {}) for side in ("left", "right")}
    for side, own in sides.items():
        if isinstance(own, dict):
            yield from _check_where(f"{where}.{side}", own, allowed, lists=False)
        else:
            yield f"{where}.{side}: {own!r}; allowed: a mapping of what differs from the other side"
            return
    if part["measure"] == "cost" and given.get("stage") == "sample":
        required = (*required, "steps", "guidance")
    for key in required:
        if key not in given and not all(key in own for own in sides.values()):
            yield f"{where}.{key}: missing; {part['measure']} needs it"
    if scale is None and "scale" not in part:
        yield f"{where}.scale: missing; allowed: {', '.join(ALLOWED['scale'])}"
    if scale is not None and part.get("scale", scale) != scale:
        yield f"{where}.scale: {part['scale']!r}; {part['measure']} is always a {scale}"
    margin = part.get("margin", 0)
    if not _number(margin) or margin < 0:
        yield f"{where}.margin: {margin!r}; allowed: a number of at least 0"
    against = part.get("against", 0)
    if not (_number(against) or (against == "real" and part["measure"] == "cell")):
        yield f"{where}.against: {against!r}; allowed: a number or, for a cell, 'real'"
    if part.get("use") == "width" and "against" in part:
        yield f"{where}.against: {against!r}; the width of one row's learning rates is held against another's"
    yield from _check_rows(where, part)


def _check_claim(where: str, claim: Any) -> Iterator[str]:
    """Mistakes of one claim."""
    if not isinstance(claim, dict):
        yield f"{where}: {claim!r}; allowed: a mapping"
        return
    for key in sorted(set(claim) - set(CLAIM_KEYS)):
        yield f"{where}.{key}: unknown key; allowed: {', '.join(CLAIM_KEYS)}"
    for key in ("number", "title", "quotes"):
        if key not in claim:
            yield f"{where}.{key}: missing"
    if "number" in claim and not _steps(claim["number"]):
        yield f"{where}.number: {claim['number']!r}; allowed: a positive integer"
    quotes = claim.get("quotes", ["."])
    if not isinstance(quotes, list) or not quotes or not all(isinstance(quote, str) and quote for quote in quotes):
        yield f"{where}.quotes: {quotes!r}; allowed: a list of the article's own words"
    if "combine" in claim:
        yield from _one_of(where, "combine", claim["combine"])
    if "preset" in claim and claim["preset"] not in preset_names():
        yield f"{where}.preset: {claim['preset']!r}; allowed: {', '.join(preset_names())}"
    if ("parts" in claim) == ("untested" in claim):
        yield f"{where}: needs either parts or untested, which says why there are none"
    parts = claim.get("parts", [{}])
    if not isinstance(parts, list) or not parts:
        yield f"{where}.parts: {parts!r}; allowed: a list of at least one part"
    elif "parts" in claim:
        for index, part in enumerate(parts):
            yield from _check_part(f"{where}.parts[{index}]", part)
        names = [part.get("name") for part in parts if isinstance(part, dict)]
        for name in sorted({str(name) for name in names if names.count(name) > 1}):
            yield f"{where}.parts: two are named {name}"


@dataclass(frozen=True)
class Change:
    """A change of claims, or of what they rest on, after a run had been looked at; ``date`` as year-month-day."""

    date: str
    what: str


def _check_changes(changes: Any) -> Iterator[str]:
    if not isinstance(changes, list):
        yield f"changes: {changes!r}; allowed: a list"
        return
    for index, change in enumerate(changes):
        known = isinstance(change, dict) and set(change) == {"date", "what"}
        if not (known and isinstance(change["date"], date) and isinstance(change["what"], str)):
            yield f"changes[{index}]: {change!r}; allowed: a date, as in 2026-11-27, and what was changed"


def changes(path: Path = CLAIMS) -> list[Change]:
    """What was changed after a run had been looked at, in the order of the file.

    Raises:
        UserError: as ``load``.
    """
    load(path)
    return [Change(str(own["date"]), " ".join(own["what"].split())) for own in read_yaml(path).get("changes", [])]


def _part(raw: dict) -> Part:
    own = {key: value for key, value in raw.items() if key in KEYS and key not in ("rows", "scale")}
    allowed, _, scale = MEASURES[raw["measure"]]
    where = {key: raw[key] for key in allowed if key in raw}
    return Part(**own, scale=raw.get("scale", scale), rows=tuple(map(tuple, raw["rows"])), where=where)


def load(path: Path = CLAIMS) -> list[Claim]:
    """The claims of a file, by number.

    Raises:
        UserError: no such file, or mistakes in it, one line each with its key, the value and what is allowed.
    """
    raw = read_yaml(path)
    mistakes = [f"{key}: unknown key; allowed: claims, changes" for key in sorted(set(raw) - {"claims", "changes"})]
    mistakes += _check_changes(raw.get("changes", []))
    claims = raw.get("claims")
    if not isinstance(claims, dict) or not claims:
        mistakes.append("claims: missing; allowed: a mapping from a claim's id to the claim")
        claims = {}
    for key, claim in claims.items():
        mistakes += _check_claim(f"claims.{key}", claim)
    numbers = [claim.get("number") for claim in claims.values() if isinstance(claim, dict)]
    for number in dict.fromkeys(number for number in numbers if numbers.count(number) > 1 and number is not None):
        mistakes.append(f"claims: number {number} is given twice")
    if mistakes:
        raise UserError("\n".join(f"{path}: {line}" for line in mistakes))
    built = [
        Claim(
            id=str(key),
            **{**claim, "quotes": tuple(claim["quotes"]), "parts": tuple(map(_part, claim.get("parts", [])))},
        )
        for key, claim in claims.items()
    ]
    return sorted(built, key=lambda claim: claim.number)
