"""Checking params completely before anything runs: one line for each mistake."""

import inspect
import json
import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml

from diffbench.config.models import SIDES
from diffbench.errors import UserError, printable

SCHEMA = Path("workflow/schemas/params.schema.yaml")
LARGEST_SIZE = 4096  # of a network's width, depth or the like
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


def _show(value: Any) -> str:
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
            yield f"{where}: {_show(value)} is not {_article(rule)}{hint}"
        case "minItems" if not value:
            yield f"{where}: [] is empty; at least {rule} needed"
        case "minProperties":
            yield f"{where}: is empty; at least {rule} needed"
        case "uniqueItems":
            yield f"{where}: {_show(value)} holds a value twice; each may stand once"
        case "enum":
            yield f"{where}: {_show(value)}; allowed: {', '.join(map(str, rule))}"
        case "anyOf":
            yield f"{where}: {_show(value)}; allowed: none, default, or a list of scales from 0 to 100"
        case "pattern":
            yield f"{where}: {_show(value)}; allowed: lower-case letters, digits and hyphens, a letter first"
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
            yield f"{where}: {_show(value)}; allowed: {words.get(error.validator, error.validator)} {_show(rule)}"


def _article(kind: str) -> str:
    return {"object": "a mapping", "array": "a list", "integer": "an integer", "boolean": "true or false"}.get(
        kind, f"a {kind}"
    )


def _registries() -> dict[str, Any]:
    """The parts a row may name. Imported late: they need torch, and a job that only counts files does not."""
    from diffbench.diffusion.networks import NETWORKS
    from diffbench.diffusion.paths import PATHS
    from diffbench.diffusion.samplers import SAMPLERS, VP_ONLY
    from diffbench.diffusion.targets import TARGETS
    from diffbench.diffusion.times import DENSITIES

    return {
        "network": NETWORKS,
        "path": PATHS,
        "target": TARGETS,
        "times": DENSITIES,
        "samplers": SAMPLERS,
        "vp only": VP_ONLY,
    }


def _fits(value: Any, annotation: Any) -> bool:
    if get_origin(annotation) is list:
        return isinstance(value, list) and value and all(_fits(item, get_args(annotation)[0]) for item in value)
    return isinstance(value, annotation) and not isinstance(value, bool) and 0 < value <= LARGEST_SIZE


def _check_size(where: str, network: Any, row: dict, side: int) -> Iterator[str]:
    parameters = {name: p for name, p in inspect.signature(network).parameters.items() if p.kind is p.KEYWORD_ONLY}
    size, mistakes = row["size"], 0
    for key in sorted(set(size) - set(parameters)):
        mistakes += 1
        yield f"{where}.size.{key}: unknown key; {row['network']} takes {', '.join(parameters)}"
    for name, parameter in parameters.items():
        if name not in size and parameter.default is parameter.empty:
            mistakes += 1
            yield f"{where}.size.{name}: missing; {row['network']} needs it"
        elif name in size and not _fits(size[name], parameter.annotation):
            mistakes += 1
            kind = getattr(parameter.annotation, "__name__", str(parameter.annotation))
            wanted = "a list of positive integers" if "list" in str(kind) else "a positive integer"
            yield f"{where}.size.{name}: {_show(size[name])}; allowed: {wanted} up to {LARGEST_SIZE}"
    if not mistakes and hasattr(network, "check"):
        try:
            network.check(side, row["conditional"], **size)
        except ValueError as error:
            yield f"{where}.size: {_show(size)}: {error}"


def _check_row(key: str, row: dict, registries: dict[str, Any], sampling: dict, side: int) -> Iterator[str]:
    where = f"paradigms.{key}"
    known = True
    for part, registry in registries.items():
        if part not in row:
            continue
        names = row[part] if isinstance(row[part], list) else [row[part]]
        for name in names:
            if name not in registry:
                known = False
                yield f"{where}.{part}: {_show(name)} is not registered; allowed: {', '.join(registry)}"
    if row["conditional"] and row["guidance"] == "none":
        yield f"{where}.guidance: none, but the paradigm is conditional; allowed: default or a list of scales"
    if not row["conditional"] and row["guidance"] != "none":
        yield f"{where}.guidance: {_show(row['guidance'])}, but the paradigm is unconditional; allowed: none"
    if not known:
        return
    import torch

    path = registries["path"][row["path"]]()
    if row["target"] == "velocity" and not hasattr(path, "d_alpha"):
        yield f"{where}.target: velocity, but {row['path']} is a table without derivatives; allowed: eps, v, x0"
    last = torch.ones((), dtype=torch.float64)
    if row["target"] == "eps" and float(path.alpha(last)) == 0:
        end = f"{row['path']} ends without signal, where eps says nothing"
        yield f"{where}.target: eps, but {end}; allowed: v, velocity"
    for sampler in registries["vp only"]:
        if sampler not in _samplers_of(key, row, sampling):
            continue
        if path.levels is None:
            yield f"{where}.samplers: {sampler} needs a variance-preserving path, not {row['path']}"
        elif sampler == "ddim-article" and float(path.alpha(last)) == 0:
            yield f"{where}.samplers: {sampler} divides by the signal, of which {row['path']} ends without any"
    yield from _check_size(where, registries["network"][row["network"]], row, side)


OPTIONS = {"eta": "ddim", "variance": "ancestral", "reading": "ddim-article"}


def _check_arms(key: str, arms: dict, paradigms: dict, samplers: dict) -> Iterator[str]:
    """Mistakes of the cells outside the grid of one paradigm."""
    if key not in paradigms:
        yield f"sampling.arms.{key}: no such paradigm; allowed: {', '.join(paradigms)}"
        return
    conditional = paradigms[key]["conditional"]
    for name, arm in arms.items():
        where = f"sampling.arms.{key}.{name}"
        if arm["sampler"] not in samplers:
            yield f"{where}.sampler: {_show(arm['sampler'])} is not registered; allowed: {', '.join(samplers)}"
        for option, sampler in OPTIONS.items():
            if option in arm and arm["sampler"] != sampler:
                yield f"{where}.{option}: only {sampler} takes it, not {arm['sampler']}"
        if conditional and "guidance" not in arm:
            yield f"{where}.guidance: missing; a conditional paradigm needs a scale"
        for option in ("guidance", "interval", "rescale"):
            if not conditional and option in arm:
                yield f"{where}.{option}: {_show(arm[option])}, but the paradigm is unconditional; remove it"
        if conditional and arm.get("guidance") in (0, 1):
            for option in ("interval", "rescale"):
                if option in arm:
                    yield f"{where}.{option}: changes nothing at guidance {arm['guidance']}; allowed: another scale"
        if "interval" in arm and arm["interval"][0] >= arm["interval"][1]:
            yield f"{where}.interval: {_show(arm['interval'])}; allowed: the lower log-SNR first"
        if arm.get("reading") == "step" and arm["steps"] < 2:
            yield f"{where}.steps: {arm['steps']}; allowed: at least 2, because dt = 1 / steps must be less than 1"


def _samplers_of(key: str, row: dict, sampling: dict) -> list[str]:
    native, arms = sampling["native"].get(key), sampling["arms"].get(key, {})
    return row["samplers"] + ([native["sampler"]] if native else []) + [arm["sampler"] for arm in arms.values()]


@cache
def _schema(text: str) -> dict:
    return yaml.safe_load(text)


def check(params: dict, source: str) -> None:
    """Check raw params completely.

    Raises:
        UserError: one line for each mistake, with its dotted key, the value and what is allowed.
    """
    import jsonschema

    validator = jsonschema.Draft202012Validator(_schema(SCHEMA.read_text(encoding="utf-8")))
    errors = sorted(validator.iter_errors(params), key=lambda error: _dotted(error.absolute_path))
    mistakes = list(dict.fromkeys(line for error in errors for line in _explain(error)))
    mistakes += [f"{key}: {value} is not a finite number" for key, value in _infinite(params)]
    if not mistakes:
        mistakes = list(_cross_check(params))
    if mistakes:
        raise UserError("\n".join(printable(f"{source}: {line}") for line in mistakes))


def _infinite(node: Any, path: tuple = ()) -> Iterator[tuple[str, float]]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _infinite(value, (*path, key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _infinite(value, (*path, index))
    elif isinstance(node, float) and not math.isfinite(node):
        yield _dotted(path), node


def _cross_check(params: dict) -> Iterator[str]:
    """Mistakes that lie between keys."""
    sampling, registries = params["sampling"], _registries()
    guidance = sampling["guidance"]
    if params["name"] in STAGES:
        yield f"name: {params['name']} is a stage's name; allowed: any other"
    if guidance["sweep_steps"] not in sampling["steps"]:
        yield (
            f"sampling.guidance.sweep_steps: {guidance['sweep_steps']}; "
            f"allowed: one of sampling.steps, {_show(sampling['steps'])}"
        )
    for seed in guidance["full_seeds"]:
        if seed not in params["seeds"]:
            yield f"sampling.guidance.full_seeds: {seed}; allowed: seeds, {_show(params['seeds'])}"
    for key, native in sampling["native"].items():
        if key not in params["paradigms"]:
            yield f"sampling.native.{key}: no such paradigm; allowed: {', '.join(params['paradigms'])}"
        if native["sampler"] not in registries["samplers"]:
            allowed = ", ".join(registries["samplers"])
            yield f"sampling.native.{key}.sampler: {_show(native['sampler'])} is not registered; allowed: {allowed}"
    for key, native in sampling["native"].items():
        row = params["paradigms"].get(key)
        if row and native["sampler"] in row["samplers"] and native["steps"] in sampling["steps"]:
            yield (
                f"sampling.native.{key}: {native['sampler']} at {native['steps']} steps is in the grid already; "
                "allowed: another sampler or step count"
            )
    stray = [scale for scale in guidance["everywhere"] if scale not in guidance["sweep"]]
    if stray:
        yield f"sampling.guidance.everywhere: {_show(stray)}; allowed: scales of sampling.guidance.sweep"
    neighbours = params["evaluation"]["neighbours"]
    if neighbours >= sampling["images"]:
        yield f"evaluation.neighbours: {neighbours}; allowed: less than sampling.images, {sampling['images']}"
    training = params["training"]
    steps = math.ceil(training["images"] / training["batch_size"])
    marks = [math.ceil(share * steps) for share in training["snapshots"] if 0 < share < 1]
    if len({*marks, steps}) <= len(marks):
        shares = _show(training["snapshots"])
        yield f"training.snapshots: {shares}; allowed: each another of {steps} steps, not the last"
    sampler = params["convergence"]["sampler"]
    if sampler not in registries["samplers"] or sampler in registries["vp only"]:
        allowed = ", ".join(name for name in registries["samplers"] if name not in registries["vp only"])
        yield f"convergence.sampler: {_show(sampler)}; allowed: {allowed}"
    if params["tune"]["seed"] in params["seeds"]:
        yield f"tune.seed: {params['tune']['seed']} is one of seeds; allowed: any other, so that no row is scored on it"
    for key, arms in sampling["arms"].items():
        yield from _check_arms(key, arms, params["paradigms"], registries["samplers"])
    for share in params["training"]["snapshots"]:
        if not 0 < share < 1:
            yield f"training.snapshots: {share}; allowed: more than 0 and less than 1, the end is always scored"
    edges = params["probe"]["log_snr"]
    if sorted(set(edges)) != edges:
        yield f"probe.log_snr: {_show(edges)}; allowed: edges in rising order"
    side = SIDES[params["data"]["source"]]
    first: dict[str, str] = {}
    for key, row in params["paradigms"].items():
        if (other := first.setdefault(row["label"], key)) != key:
            yield f"paradigms.{key}.label: {_show(row['label'])} is that of {other} too; allowed: one for each row"
    for key, row in params["paradigms"].items():
        yield from _check_row(key, row, registries, sampling, side)
