"""The params as frozen dataclasses."""

import math
from dataclasses import dataclass
from typing import Any

SIDES = {"mnist": 28, "digits": 8}


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
