"""Checking params completely before anything runs: one line for each mistake."""

import json
import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

SCHEMA = Path("workflow/schemas/params.schema.yaml")
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
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def _dotted(path: Any) -> str:
    return ".".join(str(part) for part in path) or "the file"


def _explain(error: Any) -> Iterator[str]:
    """One line for each mistake a jsonschema error stands for."""
    where, value, rule = _dotted(error.absolute_path), error.instance, error.validator_value
    match error.validator:
        case "additionalProperties":
            allowed = sorted(error.schema.get("properties", {}))
            for key in sorted(map(str, set(value) - set(allowed))):
                yield f"{_dotted([*error.absolute_path, key])}: unknown key; allowed: {', '.join(allowed)}"
        case "required":
            for key in rule:
                if key not in value:
                    yield f"{_dotted([*error.absolute_path, key])}: missing"
        case "type":
            hint = ""
            if isinstance(value, str):
                try:
                    float(value)
                    hint = " (YAML reads this as text; write it as 0.002, not 2e-3, and without quotes)"
                except ValueError:
                    pass
            yield f"{where}: {show(value)} is not {_article(rule)}{hint}"
        case "minItems" if not value:
            yield f"{where}: [] is empty; at least {rule} needed"
        case "minProperties":
            yield f"{where}: is empty; at least {rule} needed"
        case "uniqueItems":
            yield f"{where}: {show(value)} holds a value twice; each may stand once"
        case "enum":
            yield f"{where}: {show(value)}; allowed: {', '.join(map(str, rule))}"
        case "anyOf":
            yield f"{where}: {show(value)}; allowed: none, default, or a list of scales from 0 to 100"
        case "pattern":
            yield f"{where}: {show(value)}; allowed: lower-case letters, digits and hyphens, a letter first"
        case _:
            words = {
                "minimum": "at least",
                "maximum": "at most",
                "exclusiveMinimum": "more than",
                "exclusiveMaximum": "less than",
                "minItems": "number of items: at least",
                "maxItems": "number of items: at most",
                "minLength": "characters: at least",
                "maxLength": "characters: at most",
            }
            yield f"{where}: {show(value)}; allowed: {words.get(error.validator, error.validator)} {show(rule)}"


def _article(kind: str) -> str:
    return {"object": "a mapping", "array": "a list", "integer": "an integer", "boolean": "true or false"}.get(
        kind, f"a {kind}"
    )


@cache
def _schema(text: str) -> dict:
    return yaml.safe_load(text)


def mistakes(params: dict) -> list[str]:
    """Mistakes of raw params that can be seen without the parts that rows name: one line each, with its dotted key."""
    import jsonschema

    validator = jsonschema.Draft202012Validator(_schema(SCHEMA.read_text(encoding="utf-8")))
    errors = sorted(validator.iter_errors(params), key=lambda error: _dotted(error.absolute_path))
    found = list(dict.fromkeys(line for error in errors for line in _explain(error)))
    found += [f"{key}: {value} is not a finite number" for key, value in _infinite(params)]
    return found or list(_between_keys(params))


def _infinite(node: Any, path: tuple = ()) -> Iterator[tuple[str, float]]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _infinite(value, (*path, key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _infinite(value, (*path, index))
    elif isinstance(node, float) and not math.isfinite(node):
        yield _dotted(path), node


def _between_keys(params: dict) -> Iterator[str]:
    """Mistakes that lie between keys."""
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
    if params["tune"]["seed"] in params["seeds"]:
        yield f"tune.seed: {params['tune']['seed']} is one of seeds; allowed: any other, so that no row is scored on it"
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
