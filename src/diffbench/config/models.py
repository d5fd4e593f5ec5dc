"""The params of a run: every key, what it may hold, and what it means.

They are read into frozen dataclasses that pydantic checks. ``workflow/schemas/params.schema.json``, for editors, is
written from them. What lies between keys is in ``checks``; what a row's parts allow is in ``diffbench.parts``.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal

from annotated_types import GroupedMetadata
from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    PlainValidator,
    Strict,
    TypeAdapter,
    WithJsonSchema,
    WrapValidator,
)
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError


def _as_written(value: Any, check: Callable[[Any], Any]) -> Any:
    """The value itself once it is checked: a whole number stays one, and so prints as it was written."""
    check(value)
    return value


def _unlike(values: list) -> list:
    if len(set(values)) < len(values):
        raise PydanticCustomError("unique", "each may stand once")
    return values


def _scales(value: Any) -> Any:
    known = value in ("none", "default") if isinstance(value, str) else False
    numbers = isinstance(value, list) and value and all(type(x) in (int, float) and 0 <= x <= 100 for x in value)
    if not (known or (numbers and len(set(value)) == len(value))):
        raise PydanticCustomError("guidance", "none, default, or a list of scales from 0 to 100")
    return value


@dataclasses.dataclass(frozen=True)
class Whole(GroupedMetadata):
    """An integer from ``low`` to ``high``."""

    low: int
    high: int

    def __iter__(self) -> Iterator[object]:
        yield Strict()
        yield Field(ge=self.low, le=self.high)


@dataclasses.dataclass(frozen=True)
class Real(GroupedMetadata):
    """A finite number within limits, as Python compares them: >=, >, <= and <."""

    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None

    def __iter__(self) -> Iterator[object]:
        yield Strict()
        yield Field(allow_inf_nan=False, ge=self.ge, gt=self.gt, le=self.le, lt=self.lt)
        yield WrapValidator(_as_written)


@dataclasses.dataclass(frozen=True)
class Unlike(GroupedMetadata):
    """A list of at least so many items, each another."""

    least: int = 1

    def __iter__(self) -> Iterator[object]:
        yield Field(min_length=self.least)
        yield AfterValidator(_unlike)


Flag = Annotated[bool, Strict()]
Word = Annotated[str, Strict()]
Name = Annotated[str, Strict(), Field(pattern="^[a-z][a-z0-9-]{0,40}$")]
Precision = Literal["float32", "bf16"]
Seed = Annotated[int, Whole(0, 10**6)]
Steps = Annotated[int, Whole(1, 1000)]
Images = Annotated[int, Whole(20, 10**6)]  # few give no statistics
Budget = Annotated[int, Whole(1, 10**9)]  # training images
Rate = Annotated[float, Real(gt=0, le=1)]
Share = Annotated[float, Real(ge=0, le=1)]
Scale = Annotated[float, Real(ge=0, le=100)]
LogSNR = Annotated[float, Real(ge=-1000, le=1000)]
Guided = Annotated[
    str | list[float],
    PlainValidator(_scales),
    WithJsonSchema(
        {"anyOf": [{"enum": ["none", "default"]}, {"type": "array", "items": {"type": "number"}, "minItems": 1}]}
    ),
]
CONFIG = ConfigDict(extra="forbid", use_attribute_docstrings=True)


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Compute:
    device: Literal["cuda", "cpu", "auto"]
    precision: Precision
    threads: Annotated[int, Whole(1, 256)]
    compile: Flag
    """fuse the networks' operations with torch.compile"""
    graphs: Flag
    """on CUDA, record a training step and replay it; the same bytes"""


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Data:
    source: Word
    validation: Annotated[int, Whole(100, 20000)]
    split_seed: Annotated[int, Whole(0, 2**32 - 1)]
    withheld: Literal["none", "latin-square"]
    """combinations of digit, weight and slant that no network is trained on, though on each of their words"""


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Classifier:
    epochs: Annotated[int, Whole(1, 1000)]
    batch_size: Annotated[int, Whole(8, 4096)]
    lr: Rate
    channels: Annotated[list[Annotated[int, Whole(4, 512)]], Field(min_length=2, max_length=2)]
    features: Annotated[int, Whole(4, 2048)]
    judges: Annotated[int, Whole(1, 20)]


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Training:
    images: Budget
    batch_size: Annotated[int, Whole(1, 65536)]
    warmup: Annotated[int, Whole(0, 10**7)]
    beta2: Annotated[float, Real(gt=0, lt=1)]
    weight_decay: Share
    grad_clip: Annotated[float, Real(gt=0, le=10**9)]
    ema: Annotated[float, Real(ge=0, lt=1)]
    prompt_drop: Share
    word_drop: Share
    checkpoint_seconds: Annotated[float, Real(ge=0, le=10**9)]
    snapshots: Annotated[list[Annotated[float, Real()]], Unlike(0)]
    """shares of the training at which the averaged weights are kept for the convergence stage"""


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Guidance:
    everywhere: Annotated[list[Scale], Unlike()]
    sweep: Annotated[list[Scale], Unlike()]
    sweep_steps: Steps
    full_seeds: Annotated[list[Seed], Unlike(0)]


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Native:
    """The sampler and step count of a paradigm's own paper."""

    sampler: Word
    steps: Steps
    spacing: Word | None = None
    """trailing, leading or ending, alone or as on another path"""


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Arm:
    """A cell outside the grid, with options that the grid leaves at their defaults."""

    sampler: Word
    steps: Steps
    guidance: Scale | None = None
    eta: Share | None = None
    variance: Literal["small", "large"] | None = None
    reading: Literal["step", "beta", "ratio"] | None = None
    spacing: Word | None = None
    """trailing, leading or ending, alone or as on another path: trailing@linear"""
    path: Word | None = None
    """sampled on, if not the one trained on"""
    interval: Annotated[list[LogSNR], Field(min_length=2, max_length=2)] | None = None
    rescale: Share | None = None
    precision: Precision | None = None
    """of the network in this cell, if not that of compute"""
    negative: Share | None = None
    """one of training.snapshots: guidance away from the network as it stood then, not from itself without a prompt"""


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Sampling:
    images: Images
    batch_size: Annotated[int, Whole(1, 10**6)]
    clip: Flag
    steps: Annotated[list[Steps], Unlike()]
    guidance: Guidance
    selection_images: Images
    native: Annotated[dict[str, Native], Field(min_length=1)]
    arms: Annotated[dict[str, Annotated[dict[Name, Arm], Field(min_length=1)]], Field(min_length=1)]
    """cells outside the grid, by paradigm and name"""


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Evaluation:
    neighbours: Annotated[int, Whole(1, 50)]


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Convergence:
    sampler: Word
    """of every row; it must be defined on all paths"""
    steps: Steps
    """of that sampler"""
    within: Annotated[list[Annotated[float, Real(gt=1, le=10**6)]], Unlike()]
    """multiples of the real test images' FID whose reaching is timed"""


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Probe:
    images: Images
    """test images, at most all"""
    bins: Annotated[int, Whole(1, 1000)]
    """equal bins of t"""
    log_snr: Annotated[list[LogSNR], Field(min_length=2)]
    """edges of the bins of log-SNR"""
    steps: Annotated[int, Whole(2, 1000)]
    """of the trajectory whose straightness is measured"""
    frames: Annotated[int, Whole(2, 100)]
    """steps of the denoising that the report shows"""


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Tune:
    """The search for each paradigm's learning rate: snakemake's target workflow/tuning/RUN.csv."""

    lrs: Annotated[list[Rate], Unlike()]
    images: Budget
    seeds: Annotated[list[Seed], Unlike()]
    steps: Steps


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Row:
    """A network, a path, a target, a density of training times, and how it is sampled."""

    label: Annotated[str, Strict(), Field(min_length=1, max_length=40)]
    role: Literal["recipe", "bridge", "factor", "after"]
    network: Word
    size: dict[str, Any]
    conditional: Flag
    path: Word
    target: Word
    """what the network gives; after an @ what the loss is on, if another: x0@velocity"""
    times: Word
    """density of training times, as uniform or logit-normal, alone or as on another path: logit-normal@linear"""
    lr: Rate
    samplers: Annotated[list[Word], Unlike()]
    guidance: Guided
    """none for an unconditional paradigm, else default or the scales of its own sweep"""


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Paradigm(Row):
    """A row with its key in the params."""

    id: Word


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class File:
    """All that a params file holds."""

    name: Name
    """names the run; results/<name> and reports/<name> belong to it"""
    compute: Compute
    seeds: Annotated[list[Seed], Unlike()]
    """training seeds; intervals are over them"""
    data: Data
    classifier: Classifier
    training: Training
    sampling: Sampling
    evaluation: Evaluation
    convergence: Convergence
    probe: Probe
    tune: Tune
    paradigms: Annotated[dict[Name, Row], Field(min_length=1)]


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Params(File):
    """The checked params of a run; ``raw`` is the mapping they came from."""

    paradigms: dict[str, Paradigm]
    raw: dict


def schema() -> dict[str, Any]:
    """The JSON schema of a params file, with which editors complete and check one."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | TypeAdapter(File).json_schema()


def build(raw: dict) -> Params:
    """The params of a raw mapping, without the checks of what lies between keys.

    Raises:
        pydantic.ValidationError: a key is unknown or missing, or holds what it may not.
    """
    file = TypeAdapter(File).validate_python(raw)
    rows = {key: Paradigm(id=key, **vars(row)) for key, row in file.paradigms.items()}
    return Params(**vars(file) | {"paradigms": rows, "raw": raw})
