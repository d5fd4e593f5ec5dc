"""params.yaml and its presets: read, overlaid, checked, and turned into frozen dataclasses.

A run's name means params.yaml if that file bears it, and the shipped preset otherwise. Presets other than mnist are
overlays on mnist.yaml, never on the user's params.yaml: an overlay on an edited file would hide the edit.
"""

import ctypes
import importlib.util
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import UserError
from .files import Places
from .validate import SIDES, check
from .yaml_file import read_yaml

PARAMS = Path("params.yaml")
PRESETS = Path("workflow/presets")
EXTENSIONS = Path("workflow/extensions")
CLAIMS = Path("workflow/claims.yaml")
DAG = Path("dvc.yaml")
FULL = "mnist"
NATIVE = "native"
ARMS = "arms"


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
        old = Places(run).results
        renamed = f"; {old} is of a run that was renamed: name it in params.yaml again, or delete the folder"
        left = renamed if run.replace("-", "").isalnum() and old.is_dir() else ""
        raise UserError(f"run '{run}': no such run; params.yaml and the presets know {known}{left}")
    return preset(run)


@dataclass(frozen=True, kw_only=True)
class Compute:
    device: str
    precision: str
    threads: int
    compile: bool
    graphs: bool


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
    snapshots: list[float]

    @property
    def marks(self) -> list[int]:
        """Images seen at each snapshot and at the end, rising."""
        steps = math.ceil(self.images / self.batch_size)
        return [self.batch_size * math.ceil(share * steps) for share in [*sorted(self.snapshots), 1]]


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
    arms: dict[str, dict[str, dict[str, Any]]]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    neighbours: int


@dataclass(frozen=True, kw_only=True)
class Convergence:
    sampler: str
    steps: int
    within: list[float]


@dataclass(frozen=True, kw_only=True)
class Probe:
    images: int
    bins: int
    log_snr: list[float]
    steps: int
    frames: int


@dataclass(frozen=True, kw_only=True)
class Tune:
    lrs: list[float]
    images: int
    seed: int
    steps: int


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


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One way of sampling a trained network.

    ``arm`` names a cell outside the grid, which may depart from the defaults below: the noise ``eta`` of DDIM, the
    ``variance`` of the ancestral sampler, the ``reading`` of the article's update, the ``spacing`` of the times, a
    guidance ``interval`` in log-SNR, a ``rescale`` share, and a ``precision`` of the network other than the run's.
    """

    sampler: str
    steps: int
    guidance: float
    arm: str = ""
    eta: float | None = None
    variance: str | None = None
    reading: str | None = None
    spacing: str = "trailing"
    interval: tuple[float, float] | None = None
    rescale: float = 0.0
    precision: str | None = None

    @property
    def key(self) -> dict[str, Any]:
        """The columns that tell the cells of one trained network apart."""
        return {"sampler": self.sampler, "steps": self.steps, "guidance": self.guidance, "arm": self.arm}

    @property
    def options(self) -> dict[str, Any]:
        """The sampler's own keyword arguments."""
        own = {"eta": self.eta, "variance": self.variance, "reading": self.reading}
        return {name: value for name, value in own.items() if value is not None}


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
    convergence: Convergence
    probe: Probe
    tune: Tune
    paradigms: dict[str, Paradigm]
    raw: dict

    @property
    def side(self) -> int:
        """Image side in pixels."""
        return SIDES[self.data.source]

    def step_values(self, paradigm: str) -> list[str]:
        """The values of ``--steps`` a paradigm is sampled with, one stage each."""
        native = [NATIVE] if paradigm in self.sampling.native else []
        arms = [ARMS] if paradigm in self.sampling.arms else []
        return [str(steps) for steps in self.sampling.steps] + native + arms

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
        if steps == ARMS:
            return [_arm(name, options) for name, options in self.sampling.arms[paradigm].items()]
        if steps == NATIVE:
            native = self.sampling.native[paradigm]
            scales = self.everywhere(paradigm) if row.conditional else [0.0]
            return [Cell(sampler=native.sampler, steps=native.steps, guidance=float(s)) for s in scales]
        swept = int(steps) == guidance.sweep_steps or seed in guidance.full_seeds
        scales = self.sweep(paradigm) if swept else self.everywhere(paradigm)
        # The first sampler is the row's own and is swept; the others answer what a better solver buys.
        return [
            Cell(sampler=sampler, steps=int(steps), guidance=float(scale))
            for sampler in row.samplers
            for scale in sorted(set(scales if sampler == row.samplers[0] else self.everywhere(paradigm)))
        ]

    def all_cells(self, paradigm: str, seed: int) -> list[Cell]:
        """The cells of all sampling stages of a trained network, in the order they are scored in."""
        return [cell for steps in self.step_values(paradigm) for cell in self.cells(paradigm, seed, steps)]

    def swept(self, paradigm: str, seed: int) -> list[Cell]:
        """The cells of the guidance sweep: the row's own sampler at ``sweep_steps``, all its scales."""
        own = self.paradigms[paradigm].samplers[0]
        cells = self.cells(paradigm, seed, str(self.sampling.guidance.sweep_steps))
        return [cell for cell in cells if cell.sampler == own]

    def showcase(self, paradigm: str, seed: int) -> list[Cell]:
        """The cells of the sweep among whose scales a paradigm's best one is chosen."""
        scales = {float(scale) for scale in self.everywhere(paradigm)}
        return [cell for cell in self.swept(paradigm, seed) if cell.guidance in scales]

    def selecting(self, paradigm: str, seed: int, steps: str) -> list[Cell]:
        """The cells of which this sampling stage also draws the images that choose the guidance scale."""
        if not self.paradigms[paradigm].conditional or steps != str(self.sampling.guidance.sweep_steps):
            return []
        return self.showcase(paradigm, seed)


def _arm(name: str, options: dict[str, Any]) -> Cell:
    interval = options.get("interval")
    own = {**options, "guidance": float(options.get("guidance", 0.0))}
    return Cell(arm=name, **(own | {"interval": (float(interval[0]), float(interval[1]))} if interval else own))


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
        convergence=Convergence(**params["convergence"]),
        probe=Probe(**params["probe"]),
        tune=Tune(**params["tune"]),
        paradigms={key: Paradigm(id=key, **row) for key, row in params["paradigms"].items()},
        raw=params,
    )


def load_extensions() -> None:
    """Import the Python files in the folders of workflow/extensions, once; they register parts of their own.

    Raises:
        UserError: a file cannot be imported.
    """
    for path in sorted(EXTENSIONS.glob("*/*.py")):
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


def load(run: str) -> Params:
    """The checked params of a run.

    Raises:
        UserError: no such run, or any mistake in its params or in an extension.
    """
    load_extensions()
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
            "run: digits, 8 x 8, to try first (params.yaml asks for CUDA and no CUDA device is found); "
            "next: 'snakemake --cores all mnist-small', MNIST itself, 95 minutes on two cores"
        )
    if not isinstance(name, str):
        check(own, str(PARAMS))
    return name, f"run: {name} (params.yaml); 'snakemake --cores all digits' or 'smoke' runs a preset instead"
