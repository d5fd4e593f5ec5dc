"""Checking params completely before anything runs: one line for each mistake."""

import dataclasses
import json
import math
import typing
from collections.abc import Iterator
from contextlib import suppress
from typing import Annotated, Any

from pydantic import ValidationError

from diffbench.config import models

STAGES = (
    "data",
    "classifier",
    "reference",
    "train",
    "sample",
    "evaluate",
    "convergence",
    "probe",
    "aggregate",
    "claims",
    "report",
    "manifest",
    "tune",
    "all",
)


def show(value: Any) -> str:
    """A value as an error shows it."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except TypeError:  # a key that YAML reads as a date or as bytes
        text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _dotted(path: tuple) -> str:
    return ".".join(str(part) for part in path if part != "[key]") or "the file"


BOUNDS = {
    "greater_than_equal": ("at least", "ge"),
    "less_than_equal": ("at most", "le"),
    "greater_than": ("more than", "gt"),
    "less_than": ("less than", "lt"),
    "too_long": ("number of items: at most", "max_length"),
    "string_too_short": ("characters: at least", "min_length"),
    "string_too_long": ("characters: at most", "max_length"),
}
KINDS = {
    "int_type": "an integer",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "a string",
    "list_type": "a list",
    "dict_type": "a mapping",
    "dataclass_type": "a mapping",
}


def _allowed(path: tuple) -> list[str]:
    """The keys of the mapping in which a key that is unknown stands."""
    kind: Any = models.File
    for part in path[:-1]:
        if dataclasses.is_dataclass(kind):
            kind = typing.get_type_hints(kind)[part]
        elif typing.get_origin(kind) is dict:
            kind = typing.get_args(kind)[1]
        while typing.get_origin(kind) is Annotated:
            kind = typing.get_args(kind)[0]
    return sorted(field.name for field in dataclasses.fields(kind))


def _explain(error: Any) -> str:
    """One line for a mistake that pydantic found."""
    kind, path, value, facts = error["type"], error["loc"], error["input"], error.get("ctx", {})
    where = _dotted(path)
    if kind == "unexpected_keyword_argument":
        return f"{where}: unknown key; allowed: {', '.join(_allowed(path))}"
    if kind == "missing":
        return f"{where}: missing"
    if kind in KINDS:
        hint = ""
        if kind in ("int_type", "float_type") and isinstance(value, str):
            with suppress(ValueError):
                float(value)
                hint = " (this is text; write it without quotes)"
        elif kind == "int_type" and isinstance(value, float) and value.is_integer():
            # Not taken for one: DVC would name jobs and files by the number as it stands, seed 0.0.
            hint = f"; write {value:.0f}"
        elif kind == "string_type" and (
            isinstance(value, bool) or (path != ("name",) and isinstance(value, int | float))
        ):
            hint = " (write it in quotes)"
        return f"{where}: {show(value)} is not {KINDS[kind]}{hint}"
    if kind == "finite_number":
        return f"{where}: {value} is not a finite number"
    if kind == "too_short" and not value:
        return f"{where}: {'is' if isinstance(value, dict) else '[] is'} empty; at least {facts['min_length']} needed"
    if kind == "too_short":
        return f"{where}: {show(value)}; allowed: number of items: at least {facts['min_length']}"
    if kind == "unique":
        return f"{where}: {show(value)} holds a value twice; each may stand once"
    if kind == "literal_error":
        return f"{where}: {show(value)}; allowed: {facts['expected'].replace(' or ', ', ').replace(chr(39), '')}"
    if kind == "string_pattern_mismatch":
        return f"{where}: {show(value)}; allowed: lower-case letters, digits and hyphens, a letter first"
    if kind in BOUNDS:
        words, limit = BOUNDS[kind]
        bound = facts[limit]
        return f"{where}: {show(value)}; allowed: {words} {int(bound) if bound == int(bound) else bound}"
    return f"{where}: {show(value)}; allowed: {error['msg']}"


def mistakes(params: dict) -> list[str]:
    """Keys of raw params that are unknown or missing, or hold what they may not: one line each, with its dotted key."""
    try:
        models.build(params)
    except ValidationError as error:
        found = error.errors(include_url=False)
        return list(dict.fromkeys(sorted(map(_explain, found))))
    return []


def _strangers(arms: dict, snapshots: list) -> Iterator[str]:
    """Arms that steer away from a network of which no snapshot is taken."""
    for key, own in arms.items():
        for name, arm in own.items():
            if arm.get("negative") not in (None, *snapshots):
                taken = f"one of training.snapshots, {show(snapshots)}"
                yield f"sampling.arms.{key}.{name}.negative: {arm['negative']}; allowed: {taken}"


def between_keys(params: dict) -> Iterator[str]:
    """Mistakes that lie between the keys of raw params in which ``mistakes`` finds none."""
    sampling = params["sampling"]
    guidance = sampling["guidance"]
    if params["name"] in STAGES:
        yield f"name: {params['name']} is a stage's name; allowed: any other"
    if guidance["sweep_steps"] not in sampling["steps"]:
        yield (
            f"sampling.guidance.sweep_steps: {guidance['sweep_steps']}; "
            f"allowed: one of sampling.steps, {show(sampling['steps'])}"
        )
    for seed in guidance["full_seeds"]:
        if seed not in params["seeds"]:
            yield f"sampling.guidance.full_seeds: {seed}; allowed: seeds, {show(params['seeds'])}"
    for key in sampling["native"]:
        if key not in params["paradigms"]:
            yield f"sampling.native.{key}: no such paradigm; allowed: {', '.join(params['paradigms'])}"
    for key, native in sampling["native"].items():
        row = params["paradigms"].get(key)
        if row and native["sampler"] in row["samplers"] and native["steps"] in sampling["steps"]:
            yield (
                f"sampling.native.{key}: {native['sampler']} at {native['steps']} steps is in the grid already; "
                "allowed: another sampler or step count"
            )
    stray = [scale for scale in guidance["everywhere"] if scale not in guidance["sweep"]]
    if stray:
        yield f"sampling.guidance.everywhere: {show(stray)}; allowed: scales of sampling.guidance.sweep"
    neighbours = params["evaluation"]["neighbours"]
    if neighbours >= sampling["images"]:
        yield f"evaluation.neighbours: {neighbours}; allowed: less than sampling.images, {sampling['images']}"
    training = params["training"]
    steps = math.ceil(training["images"] / training["batch_size"])
    marks = [math.ceil(share * steps) for share in training["snapshots"] if 0 < share < 1]
    if len({*marks, steps}) <= len(marks):
        shares = show(training["snapshots"])
        yield f"training.snapshots: {shares}; allowed: each another of {steps} steps, not the last"
    elif all(0 < share < 1 for share in training["snapshots"]):
        yield from _strangers(sampling["arms"], training["snapshots"])
    for seed in params["tune"]["seeds"]:
        if seed in params["seeds"]:
            yield f"tune.seeds: {seed} is one of seeds; allowed: any other, so that no row is scored on it"
    for share in params["training"]["snapshots"]:
        if not 0 < share < 1:
            yield f"training.snapshots: {share}; allowed: more than 0 and less than 1, the end is always scored"
    edges = params["probe"]["log_snr"]
    if sorted(set(edges)) != edges:
        yield f"probe.log_snr: {show(edges)}; allowed: edges in rising order"
    first: dict[str, str] = {}
    for key, row in params["paradigms"].items():
        if (other := first.setdefault(row["label"], key)) != key:
            yield f"paradigms.{key}.label: {show(row['label'])} is that of {other} too; allowed: one for each row"
