"""The parts that a row of the params names, and whether they fit each other."""

import importlib.util
import inspect
import sys
from collections.abc import Iterator
from typing import Any, get_args, get_origin

from diffbench.config.checks import show
from diffbench.config.presets import EXTENSION_KINDS, EXTENSIONS, extension_files
from diffbench.data.sources import SOURCES
from diffbench.errors import UserError

LARGEST_SIZE = 4096  # of a network's width, depth or the like


def load_extensions() -> None:
    """Import the Python files in the folders of workflow/extensions, once; they register parts of their own.

    Raises:
        UserError: a file cannot be imported, or lies in a folder of no kind, whose edits would run nothing again.
    """
    for path in extension_files():
        if path.relative_to(EXTENSIONS).parts[0] not in EXTENSION_KINDS:
            raise UserError(f"{path}: no kind of extension; allowed folders: {', '.join(EXTENSION_KINDS)}")
        if path.suffix != ".py" or path.parent.parent != EXTENSIONS:  # what an extension imports or reads itself
            continue
        name = f"diffbench_extensions.{path.parent.name}.{path.stem}"
        if name in sys.modules or path.stem == "__init__":
            continue
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except Exception as error:  # whatever a user's file raises is to be told in one line
            del sys.modules[name]
            raise UserError(f"{path}: cannot be imported ({type(error).__name__}: {error}); mend or move it") from None


def registries() -> dict[str, Any]:
    """The parts a row may name. Imported late: they need torch, and a job that only counts files does not."""
    from diffbench.diffusion.networks import NETWORKS
    from diffbench.diffusion.objective import OBJECTIVES
    from diffbench.diffusion.paths import PATHS
    from diffbench.diffusion.samplers import SAMPLERS, TWO_TIMES, VP_ONLY
    from diffbench.diffusion.targets import TARGETS
    from diffbench.diffusion.times import DENSITIES, SPACINGS

    return {
        "network": NETWORKS,
        "path": PATHS,
        "target": TARGETS,
        "loss": OBJECTIVES,
        "times": DENSITIES,
        "spacing": SPACINGS,
        "samplers": SAMPLERS,
        "vp only": VP_ONLY,
        "two times": TWO_TIMES,
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
            yield f"{where}.size.{name}: {show(size[name])}; allowed: {wanted} up to {LARGEST_SIZE}"
    if not mistakes and hasattr(network, "check"):
        try:
            network.check(side, row["conditional"], **size)
        except ValueError as error:
            yield f"{where}.size: {show(size)}: {error}"


def _unknown(where: str, name: str, part: str, registries: dict[str, Any]) -> Iterator[str]:
    """A part that is not registered; after an @ a rule for times may name a path, and a target what the loss is on."""
    second = {"times": "path", "spacing": "path", "target": "loss"}.get(part)
    first, _, other = name.partition("@") if second else (name, "", "")
    if first not in registries[part]:
        yield f"{where}: {show(name)} is not registered; allowed: {', '.join(registries[part])}"
    elif second and other not in registries[second] and first != name:
        yield f"{where}: {show(name)} names no {second} after its @; allowed: {', '.join(registries[second])}"


def _check_arms_paths(key: str, path: Any, registries: dict[str, Any], sampling: dict) -> Iterator[str]:
    """Arms that ask a row's path, or one in its place, for what it does not have."""
    from diffbench.diffusion.paths import TabulatedVP
    from diffbench.diffusion.times import sampling_times

    for name, arm in sampling["arms"].get(key, {}).items():
        where = f"sampling.arms.{key}.{name}"
        other, spacing = arm.get("path"), arm.get("spacing") or "trailing"
        mistakes = list(_unknown(f"{where}.path", other, "path", registries)) if other else []
        mistakes += _unknown(f"{where}.spacing", spacing, "spacing", registries)
        yield from mistakes
        if mistakes:
            continue
        sampled = registries["path"][other]() if other else path
        if arm["sampler"] in registries["vp only"] and other and not isinstance(sampled, TabulatedVP):
            yield f"{where}.path: {arm['sampler']} needs a variance-preserving path, not {other}"
        try:
            sampling_times(spacing, arm["steps"], sampled)
        except ValueError as error:
            yield f"{where}.steps: {error}; allowed: fewer"


def _check_row(key: str, row: dict, registries: dict[str, Any], sampling: dict, side: int) -> Iterator[str]:
    where = f"paradigms.{key}"
    known = True
    for part in (name for name in registries if name in row):
        names = row[part] if isinstance(row[part], list) else [row[part]]
        for name in names:
            for mistake in _unknown(f"{where}.{part}", name, part, registries):
                known = False
                yield mistake
    if row["conditional"] and row["guidance"] == "none":
        yield f"{where}.guidance: none, but the paradigm is conditional; allowed: default or a list of scales"
    if not row["conditional"] and row["guidance"] != "none":
        yield f"{where}.guidance: {show(row['guidance'])}, but the paradigm is unconditional; allowed: none"
    if not known:
        return
    import torch

    from diffbench.diffusion.paths import DifferentiablePath, TabulatedVP
    from diffbench.diffusion.targets import target_and_loss
    from diffbench.diffusion.times import sampling_times

    path = registries["path"][row["path"]]()
    given, on = target_and_loss(row["target"])
    lacks = "is a table without" if isinstance(path, TabulatedVP) else "has no"
    if "velocity" in (given, on) and not isinstance(path, DifferentiablePath):
        yield f"{where}.target: velocity, but {row['path']} {lacks} derivatives; allowed: eps, v, x0"
    last = torch.ones((), dtype=torch.float64)
    if row["target"] == "eps" and float(path.alpha(last)) == 0:
        end = f"{row['path']} ends without signal, where eps says nothing"
        yield f"{where}.target: eps, but {end}; allowed: v, velocity"
    two_times = getattr(registries["network"][row["network"]], "two_times", False)
    if on == "mean-flow" and not (two_times and given == "velocity" and row["path"] == "linear"):
        yield f"{where}.target: the loss mean-flow is of velocity on the linear path, from a network of two times"
    if (on == "drift") != (row["path"] == "one-level") or (on == "drift" and given != "x0"):
        yield f"{where}.target: the loss drift is of x0 on the path one-level, and that path has no other"
    for sampler in registries["two times"]:
        if sampler not in _samplers_of(key, row, sampling):
            continue
        if not two_times:
            yield f"{where}.samplers: {sampler} needs a network of two times, not {row['network']}"
        elif registries["loss"][on].draw is None:
            yield f"{where}.samplers: {sampler} tells the network where a step ends, which the loss {on} never does"
    for sampler in registries["vp only"]:
        if sampler not in _samplers_of(key, row, sampling):
            continue
        if not isinstance(path, TabulatedVP):
            yield f"{where}.samplers: {sampler} needs a variance-preserving path, not {row['path']}"
        elif sampler == "ddim-article" and float(path.alpha(last)) == 0:
            yield f"{where}.samplers: {sampler} divides by the signal, of which {row['path']} ends without any"
    native = sampling["native"].get(key, {"steps": 1})
    spacing = native.get("spacing") or "trailing"
    if not list(_unknown("", spacing, "spacing", registries)):
        try:
            sampling_times(spacing, native["steps"], path)
        except ValueError as error:
            yield f"sampling.native.{key}.steps: {error}; allowed: fewer"
    yield from _check_arms_paths(key, path, registries, sampling)
    yield from _check_size(where, registries["network"][row["network"]], row, side)


OPTIONS = {"eta": "ddim", "variance": "ancestral", "reading": "ddim-article"}


def _check_arms(key: str, arms: dict, paradigms: dict, samplers: dict) -> Iterator[str]:
    """Mistakes of the cells outside the grid of one paradigm."""
    if key not in paradigms:
        yield f"sampling.arms.{key}: no such paradigm; allowed: {', '.join(paradigms)}"
        return
    conditional = paradigms[key]["conditional"]
    for name, written in arms.items():
        where = f"sampling.arms.{key}.{name}"
        arm = {option: value for option, value in written.items() if value is not None}
        if arm["sampler"] not in samplers:
            yield f"{where}.sampler: {show(arm['sampler'])} is not registered; allowed: {', '.join(samplers)}"
        for option, sampler in OPTIONS.items():
            if option in arm and arm["sampler"] != sampler:
                yield f"{where}.{option}: only {sampler} takes it, not {arm['sampler']}"
        if conditional and "guidance" not in arm:
            yield f"{where}.guidance: missing; a conditional paradigm needs a scale"
        for option in ("guidance", "interval", "rescale", "negative"):
            if not conditional and option in arm:
                yield f"{where}.{option}: {show(arm[option])}, but the paradigm is unconditional; remove it"
        if conditional and arm.get("guidance") in (0, 1):
            for option in ("interval", "rescale", "negative"):
                if option in arm:
                    yield f"{where}.{option}: changes nothing at guidance {arm['guidance']}; allowed: another scale"
        if "interval" in arm and arm["interval"][0] >= arm["interval"][1]:
            yield f"{where}.interval: {show(arm['interval'])}; allowed: the lower log-SNR first"
        if arm.get("reading") == "step" and arm["steps"] < 2:
            yield f"{where}.steps: {arm['steps']}; allowed: at least 2, because dt = 1 / steps must be less than 1"


def _samplers_of(key: str, row: dict, sampling: dict) -> list[str]:
    native, arms = sampling["native"].get(key), sampling["arms"].get(key, {})
    return row["samplers"] + ([native["sampler"]] if native else []) + [arm["sampler"] for arm in arms.values()]


def mistakes(params: dict) -> Iterator[str]:
    """Rows of raw params that name no known part, or parts that do not fit: one line each, with its dotted key."""
    sampling, known = params["sampling"], registries()
    for key, native in sampling["native"].items():
        if native["sampler"] not in known["samplers"]:
            allowed = ", ".join(known["samplers"])
            yield f"sampling.native.{key}.sampler: {show(native['sampler'])} is not registered; allowed: {allowed}"
        if native.get("spacing"):
            yield from _unknown(f"sampling.native.{key}.spacing", native["spacing"], "spacing", known)
    sampler = params["convergence"]["sampler"]
    special = (*known["vp only"], *known["two times"])
    if sampler not in known["samplers"] or sampler in special:
        allowed = ", ".join(name for name in known["samplers"] if name not in special)
        yield f"convergence.sampler: {show(sampler)}; allowed: {allowed}"
    for key, arms in sampling["arms"].items():
        yield from _check_arms(key, arms, params["paradigms"], known["samplers"])
    if (source := params["data"]["source"]) not in SOURCES:
        yield f"data.source: {show(source)} is not registered; allowed: {', '.join(SOURCES)}"
        return
    for key, row in params["paradigms"].items():
        yield from _check_row(key, row, known, sampling, SOURCES[source].side)
