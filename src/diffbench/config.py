"""params.yaml and its presets: read, overlaid, checked, and turned into frozen dataclasses.

A run's name means params.yaml if that file bears it, and the shipped preset otherwise. Presets other than mnist are
overlays on mnist.yaml, never on the user's params.yaml: an overlay on an edited file would hide the edit.
"""

import ctypes
import inspect
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml

from .errors import UserError

PARAMS = Path("params.yaml")
PRESETS = Path("workflow/presets")
SCHEMA = Path("workflow/schemas/params.schema.yaml")
FULL = "mnist"
NATIVE = "native"
STAGES = ("data", "classifier", "reference", "train", "sample", "evaluate", "aggregate", "report", "manifest", "all")


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses a key written twice; plain YAML silently keeps the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "keys must be plain words", key_node.start_mark)
            if key_node.value in seen and key_node.tag != "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(
                    None, None, f"'{key_node.value}' is given twice; remove one", key_node.start_mark
                )
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> dict:
    """The mapping in a YAML file.

    Raises:
        UserError: missing, unreadable, not YAML, a key given twice, or not a mapping.
    """
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except FileNotFoundError:
        raise UserError(f"{path}: not found; run from the root of the repository") from None
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read ({' '.join(str(error).split())[:200]})") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or error
        raise UserError(f"{path}{where}: {' '.join(str(problem).split())}") from None
    if not isinstance(data, dict):
        raise UserError(f"{path}: holds {type(data).__name__}, expected a mapping of keys to values")
    return data


def overlay(base: Any, changes: Any) -> Any:
    """``base`` with ``changes`` merged in: mappings merge, everything else replaces, null removes a key."""
    if not (isinstance(base, dict) and isinstance(changes, dict)):
        return changes
    merged = {key: overlay(value, changes[key]) if key in changes else value for key, value in base.items()}
    merged |= {key: value for key, value in changes.items() if key not in base}
    return {key: value for key, value in merged.items() if value is not None}


def preset_names() -> list[str]:
    """The shipped presets, the full one first."""
    return sorted((path.stem for path in PRESETS.glob("*.yaml")), key=lambda name: (name != FULL, name))


def preset(name: str) -> dict:
    """The raw params of a shipped preset."""
    full = read_yaml(PRESETS / f"{FULL}.yaml")
    return full if name == FULL else overlay(full, read_yaml(PRESETS / f"{name}.yaml"))


def raw(run: str) -> dict:
    """The unchecked params of a run: params.yaml if it bears the name, else the preset.

    Raises:
        UserError: neither exists.
    """
    own = read_yaml(PARAMS)
    if own.get("name") == run:
        return own
    if run not in preset_names():
        known = ", ".join(dict.fromkeys([str(own.get("name")), *preset_names()]))
        raise UserError(f"run '{run}': no such run; params.yaml and the presets know {known}")
    return preset(run)


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
    from .networks import NETWORKS
    from .paths import PATHS
    from .samplers import SAMPLERS
    from .targets import TARGETS
    from .times import DENSITIES

    return {"network": NETWORKS, "path": PATHS, "target": TARGETS, "times": DENSITIES, "samplers": SAMPLERS}


def _fits(value: Any, annotation: Any) -> bool:
    if get_origin(annotation) is list:
        return isinstance(value, list) and value and all(_fits(item, get_args(annotation)[0]) for item in value)
    return isinstance(value, annotation) and not isinstance(value, bool) and value > 0


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
            yield f"{where}.size.{name}: {_show(size[name])}; allowed: {wanted}"
    if not mistakes and hasattr(network, "check"):
        try:
            network.check(side, row["conditional"], **size)
        except ValueError as error:
            yield f"{where}.size: {_show(size)}: {error}"


SIDES = {"mnist": 28, "digits": 8}


def _check_row(key: str, row: dict, registries: dict[str, Any], sampling: dict, side: int) -> Iterator[str]:
    where = f"paradigms.{key}"
    known = True
    for part, registry in registries.items():
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
    if "ancestral" in _samplers_of(key, row, sampling) and path.levels is None:
        yield f"{where}.samplers: ancestral needs a variance-preserving path, not {row['path']}"
    yield from _check_size(where, registries["network"][row["network"]], row, side)


def _samplers_of(key: str, row: dict, sampling: dict) -> list[str]:
    native = sampling["native"].get(key)
    return row["samplers"] + ([native["sampler"]] if native else [])


def check(params: dict, source: str) -> None:
    """Check raw params completely.

    Raises:
        UserError: one line for each mistake, with its dotted key, the value and what is allowed.
    """
    import jsonschema

    validator = jsonschema.Draft202012Validator(yaml.safe_load(SCHEMA.read_text(encoding="utf-8")))
    errors = sorted(validator.iter_errors(params), key=lambda error: _dotted(error.absolute_path))
    mistakes = list(dict.fromkeys(line for error in errors for line in _explain(error)))
    mistakes += [f"{key}: {value} is not a finite number" for key, value in _infinite(params)]
    if not mistakes:
        mistakes = list(_cross_check(params))
    if mistakes:
        raise UserError("\n".join(f"{source}: {line}" for line in mistakes))


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
    side = SIDES[params["data"]["source"]]
    for key, row in params["paradigms"].items():
        yield from _check_row(key, row, registries, sampling, side)


@dataclass(frozen=True, kw_only=True)
class Compute:
    device: str
    precision: str
    threads: int


@dataclass(frozen=True, kw_only=True)
class Data:
    source: str
    validation: int
    split_seed: int


@dataclass(frozen=True, kw_only=True)
class Classifier:
    epochs: int
    batch_size: int
    lr: float
    channels: list[int]
    features: int


@dataclass(frozen=True, kw_only=True)
class Training:
    images: int
    batch_size: int
    warmup: int
    beta2: float
    weight_decay: float
    grad_clip: float
    ema: float
    prompt_drop: float
    word_drop: float
    checkpoint_seconds: float


@dataclass(frozen=True, kw_only=True)
class Guidance:
    everywhere: list[float]
    sweep: list[float]
    sweep_steps: int
    full_seeds: list[int]


@dataclass(frozen=True, kw_only=True)
class Native:
    sampler: str
    steps: int


@dataclass(frozen=True, kw_only=True)
class Sampling:
    images: int
    batch_size: int
    clip: bool
    steps: list[int]
    guidance: Guidance
    selection_images: int
    native: dict[str, Native]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    neighbours: int


@dataclass(frozen=True, kw_only=True)
class Paradigm:
    """One row: a network, a path, a target, a density of training times, and how it is sampled."""

    id: str
    label: str
    role: str
    network: str
    size: dict[str, Any]
    conditional: bool
    path: str
    target: str
    times: str
    lr: float
    samplers: list[str]
    guidance: str | list[float]


@dataclass(frozen=True, kw_only=True, order=True)
class Cell:
    """One way of sampling a trained network."""

    sampler: str
    steps: int
    guidance: float


@dataclass(frozen=True, kw_only=True)
class Params:
    """The checked params of a run; ``raw`` is the mapping they came from."""

    name: str
    compute: Compute
    seeds: list[int]
    data: Data
    classifier: Classifier
    training: Training
    sampling: Sampling
    evaluation: Evaluation
    paradigms: dict[str, Paradigm]
    raw: dict

    @property
    def side(self) -> int:
        """Image side in pixels."""
        return SIDES[self.data.source]

    def step_values(self, paradigm: str) -> list[str]:
        """The values of ``--steps`` a paradigm is sampled with, one stage each."""
        native = [NATIVE] if paradigm in self.sampling.native else []
        return [str(steps) for steps in self.sampling.steps] + native

    def sweep(self, paradigm: str) -> list[float]:
        """The guidance scales a paradigm is swept over; an unconditional one has scale 0 only."""
        own = self.paradigms[paradigm].guidance
        return {"none": [0.0], "default": self.sampling.guidance.sweep}.get(own, own) if isinstance(own, str) else own

    def everywhere(self, paradigm: str) -> list[float]:
        """The scales sampled at every step count, among which a paradigm's best one is chosen."""
        scales = self.sweep(paradigm)
        return [scale for scale in self.sampling.guidance.everywhere if scale in scales] or scales[:1]

    def cells(self, paradigm: str, seed: int, steps: str) -> list[Cell]:
        """The cells of one sampling stage, in a fixed order."""
        row, guidance = self.paradigms[paradigm], self.sampling.guidance
        if steps == NATIVE:
            native = self.sampling.native[paradigm]
            scales = self.everywhere(paradigm) if row.conditional else [0.0]
            return [Cell(sampler=native.sampler, steps=native.steps, guidance=float(s)) for s in scales]
        swept = int(steps) == guidance.sweep_steps or seed in guidance.full_seeds
        scales = self.sweep(paradigm) if swept else self.everywhere(paradigm)
        return [
            Cell(sampler=sampler, steps=int(steps), guidance=float(scale))
            for sampler in row.samplers
            for scale in sorted(set(scales))
        ]

    def selects(self, paradigm: str, steps: str) -> bool:
        """Whether this sampling stage also draws the images that choose the guidance scale."""
        return self.paradigms[paradigm].conditional and steps == str(self.sampling.guidance.sweep_steps)


def build(params: dict) -> Params:
    """Dataclasses from checked raw params."""
    sampling = params["sampling"]
    return Params(
        name=params["name"],
        compute=Compute(**params["compute"]),
        seeds=params["seeds"],
        data=Data(**params["data"]),
        classifier=Classifier(**params["classifier"]),
        training=Training(**params["training"]),
        sampling=Sampling(
            **{
                **sampling,
                "guidance": Guidance(**sampling["guidance"]),
                "native": {key: Native(**value) for key, value in sampling["native"].items()},
            }
        ),
        evaluation=Evaluation(**params["evaluation"]),
        paradigms={key: Paradigm(id=key, **row) for key, row in params["paradigms"].items()},
        raw=params,
    )


def load(run: str) -> Params:
    """The checked params of a run.

    Raises:
        UserError: no such run, or any mistake in its params.
    """
    params = raw(run)
    own = read_yaml(PARAMS).get("name") == run
    check(params, str(PARAMS) if own else str(PRESETS / f"{run}.yaml"))
    return build(params)


def cuda_devices() -> int:
    """CUDA devices the driver sees, asked without importing torch (a second) or making a context."""
    try:
        driver, count = ctypes.CDLL("libcuda.so.1"), ctypes.c_int()
        if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
            return 0
    except OSError:
        return 0
    return count.value


def default_run() -> tuple[str, str]:
    """The run that a bare ``snakemake`` makes, and why in one line.

    It is params.yaml's own, unless that is still the shipped benchmark, asks for CUDA, and there is none.
    """
    own = read_yaml(PARAMS)
    name = own.get("name")
    if own == preset(FULL) and own["compute"]["device"] == "cuda" and not cuda_devices():
        return "digits", (
            "run: digits (params.yaml asks for CUDA and no CUDA device is found); "
            "'snakemake --cores all mnist' insists, "
            "'python -m diffbench params --preset digits --write' makes it params.yaml"
        )
    if not isinstance(name, str):
        check(own, str(PARAMS))
    return name, f"run: {name} (params.yaml); 'snakemake --cores all digits' or 'smoke' runs a preset instead"
