"""The design of a benchmark: which cells of which trained networks are sampled. It decides numbers."""

from dataclasses import dataclass, fields
from typing import Any

from diffbench.config.models import Arm, Params

NATIVE = "native"
ARMS = "arms"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One way of sampling a trained network.

    ``arm`` names a cell outside the grid, which may depart from the defaults below: the noise ``eta`` of DDIM, the
    ``variance`` of the ancestral sampler, the ``reading`` of the article's update, the ``spacing`` of the times, a
    ``path`` other than the trained one, a guidance ``interval`` in log-SNR, a ``rescale`` share, a ``precision`` of
    the network other than the run's, and as a ``negative`` the network as it stood after that share of its training.
    """

    sampler: str
    steps: int
    guidance: float
    arm: str = ""
    eta: float | None = None
    variance: str | None = None
    reading: str | None = None
    spacing: str = "trailing"
    path: str | None = None
    interval: tuple[float, float] | None = None
    rescale: float = 0.0
    precision: str | None = None
    negative: float | None = None

    @property
    def key(self) -> dict[str, Any]:
        """The columns that tell the cells of one trained network apart."""
        return {"sampler": self.sampler, "steps": self.steps, "guidance": self.guidance, "arm": self.arm}

    @property
    def options(self) -> dict[str, Any]:
        """The sampler's own keyword arguments."""
        own = {"eta": self.eta, "variance": self.variance, "reading": self.reading}
        return {name: value for name, value in own.items() if value is not None}


def step_values(params: Params, paradigm: str) -> list[str]:
    """The values of ``--steps`` a paradigm is sampled with, one stage each."""
    native = [NATIVE] if paradigm in params.sampling.native else []
    arms = [ARMS] if paradigm in params.sampling.arms else []
    return [str(steps) for steps in params.sampling.steps] + native + arms


def sweep(params: Params, paradigm: str) -> list[float]:
    """The guidance scales a paradigm is swept over; an unconditional one has scale 0 only."""
    own = params.paradigms[paradigm].guidance
    return {"none": [0.0], "default": params.sampling.guidance.sweep}.get(own, own) if isinstance(own, str) else own


def base_scales(params: Params, paradigm: str) -> list[float]:
    """The scales sampled at every step count, among which a paradigm's best one is chosen."""
    scales = sweep(params, paradigm)
    return [scale for scale in params.sampling.guidance.everywhere if scale in scales] or scales[:1]


def cells(params: Params, paradigm: str, seed: int, steps: str) -> list[Cell]:
    """The cells of one sampling stage, in a fixed order."""
    row, guidance = params.paradigms[paradigm], params.sampling.guidance
    if steps == ARMS:
        return [_arm(name, arm) for name, arm in params.sampling.arms[paradigm].items()]
    if steps == NATIVE:
        native = params.sampling.native[paradigm]
        scales = base_scales(params, paradigm) if row.conditional else [0.0]
        own = {} if native.spacing is None else {"spacing": native.spacing}
        return [Cell(sampler=native.sampler, steps=native.steps, guidance=float(s), **own) for s in scales]
    swept = int(steps) == guidance.sweep_steps or seed in guidance.full_seeds
    scales = sweep(params, paradigm) if swept else base_scales(params, paradigm)
    # The first sampler is the row's own and is swept; the others answer what a better solver buys.
    return [
        Cell(sampler=sampler, steps=int(steps), guidance=float(scale))
        for sampler in row.samplers
        for scale in sorted(set(scales if sampler == row.samplers[0] else base_scales(params, paradigm)))
    ]


def all_cells(params: Params, paradigm: str, seed: int) -> list[Cell]:
    """The cells of all sampling stages of a trained network, in the order they are scored in."""
    return [cell for steps in step_values(params, paradigm) for cell in cells(params, paradigm, seed, steps)]


def swept(params: Params, paradigm: str, seed: int) -> list[Cell]:
    """The cells of the guidance sweep: the row's own sampler at ``sweep_steps``, all its scales."""
    own = params.paradigms[paradigm].samplers[0]
    steps = str(params.sampling.guidance.sweep_steps)
    return [cell for cell in cells(params, paradigm, seed, steps) if cell.sampler == own]


def showcase(params: Params, paradigm: str, seed: int) -> list[Cell]:
    """The cells of the sweep among whose scales a paradigm's best one is chosen."""
    scales = {float(scale) for scale in base_scales(params, paradigm)}
    return [cell for cell in swept(params, paradigm, seed) if cell.guidance in scales]


def selecting(params: Params, paradigm: str, seed: int, steps: str) -> list[Cell]:
    """The cells of which this sampling stage also draws the images that choose the guidance scale."""
    if not params.paradigms[paradigm].conditional or steps != str(params.sampling.guidance.sweep_steps):
        return []
    return showcase(params, paradigm, seed)


def _arm(name: str, arm: Arm) -> Cell:
    given = {field.name: getattr(arm, field.name) for field in fields(arm)}
    options = {"guidance": 0.0} | {option: value for option, value in given.items() if value is not None}
    if arm.interval:
        options["interval"] = (float(arm.interval[0]), float(arm.interval[1]))
    return Cell(arm=name, **options | {"guidance": float(options["guidance"])})
