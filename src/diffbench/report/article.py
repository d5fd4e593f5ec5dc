"""The page "What the article gets wrong": docs/article.md, from its template, a run's tables and exact denoisers.

No number on the page is typed by hand. Those about formulas are computed here, with the package's own samplers on data
whose best denoiser is known in closed form, so that what goes wrong is the formula's fault and no network's. Those
about claims come from the tables of one run.
"""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
import torch
from torch import Tensor, nn

from diffbench.compare.locate import find
from diffbench.data.vocabulary import VOCABULARY
from diffbench.diffusion.paths import PATHS
from diffbench.diffusion.samplers import ddim, ddim_article, euler
from diffbench.diffusion.targets import Prediction
from diffbench.diffusion.times import trailing
from diffbench.errors import UserError
from diffbench.evaluation.probe import trajectory
from diffbench.report.claims import effect_text, explains
from diffbench.report.effects import SHORT
from diffbench.report.finding import UNTESTED, facts_of, number, of_article, tally
from diffbench.runtime.files import replacing
from diffbench.runtime.places import REFERENCES
from diffbench.tables import schema, store

Frames = dict[str, pd.DataFrame]

READS = ("cells", "claims", "claim_parts", "cost", "effects", "floors", "provenance")
TEMPLATE = Path("docs/article.md.j2")
PAGE = Path("docs/article.md")
SAMPLES = 1000
FEW_PARTS = 4  # of a claim that are shown one by one
LOW, HIGH = 0.15, 0.85  # shares of the two modes at -1 and 1
WIDTH = 0.05  # standard deviation of each mode


def mixture(path: nn.Module, modes: Tensor, weights: Tensor, width: float = WIDTH) -> Callable:
    """The exact denoiser of a mixture of isotropic Gaussians.

    Args:
        modes: their means, (K, D).
        weights: their shares, (K,).
        width: their standard deviation.

    Returns:
        ``denoise(x, t)`` of x (B, 1, 1, D): ``E[x0 | x_t]`` and the eps that goes with it.
    """

    def denoise(x: Tensor, t: Tensor) -> Prediction:
        alpha, sigma = path.alpha(t), path.sigma(t)
        total = (alpha * width) ** 2 + sigma**2
        gap = x[..., None, :] - alpha * modes  # (B, 1, 1, K, D)
        share = torch.softmax(weights.log() - gap.square().sum(-1) / (2 * total), -1)
        each = modes + alpha * width**2 / total * gap
        x0 = (share[..., None] * each).sum(-2)
        return Prediction(x0, (x - alpha * x0) / sigma)

    return denoise


def two_modes(path: nn.Module) -> Callable:
    """The exact denoiser of 15% at -1 and 85% at 1."""
    modes = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    return mixture(path, modes, torch.tensor([LOW, HIGH], dtype=torch.float64))


def noise() -> Tensor:
    """Quantiles of the standard normal in place of random draws, the same everywhere, (SAMPLES, 1, 1, 1)."""
    u = (torch.arange(SAMPLES, dtype=torch.float64) + 0.5) / SAMPLES
    return torch.special.ndtri(u)[:, None, None, None]


def _spread(x: Tensor) -> dict[str, float]:
    """The share below 0, the standard deviation, and the share within 0.3 of neither mode."""
    off = ((x - 1).abs() > 0.3) & ((x + 1).abs() > 0.3)
    return {"low": float((x < 0).double().mean()), "std": float(x.std()), "off": float(off.double().mean())}


def printed_update() -> dict[str, dict[str, float]]:
    """DDIM, and the article's update in its three readings, on the two modes with the exact denoiser."""
    path = PATHS["vp-linear"]()
    denoise, x = two_modes(path), noise()
    found = {"ddim": _spread(ddim(denoise, path, x, trailing(50, 1000)))}
    for reading, steps in (("step", 50), ("ratio", 50), ("beta", 1000)):
        found[reading] = _spread(ddim_article(denoise, path, x, trailing(steps, 1000), reading=reading))
    return found


def eps_coefficients() -> dict[str, float]:
    """How many times DDIM's the article's coefficient of eps is, with dt read as beta_t, at both ends of the schedule.

    DDIM between adjacent levels adds ``(sigma_s - sigma_t alpha_s / alpha_t) eps`` (arXiv:2010.02502, eq. 12), the
    article ``-beta / sqrt(1 - beta) eps``: about ``2 sigma`` times as much.
    """
    path = PATHS["vp-linear"]()
    found = {}
    for name, level in (("noise", 1000), ("data", 10)):
        t, s = (torch.tensor(i / 1000, dtype=torch.float64) for i in (level, level - 1))
        ratio = path.alpha(s) / path.alpha(t)  # 1 / sqrt(1 - beta)
        found[name] = float((1 - ratio**-2) * ratio / (path.sigma(t) * ratio - path.sigma(s)))
    return found


def per_step_noise() -> float:
    """The largest standard deviation of noise that ``sqrt(1 - alpha_t)`` gives with DDPM's one-step alpha_t."""
    path = PATHS["vp-linear"]()
    abar = path.alpha(torch.arange(1001, dtype=torch.float64) / 1000) ** 2
    return float((1 - abar[1:] / abar[:-1]).max().sqrt())


def amplification(name: str) -> float:
    """``sigma / alpha`` at t = 1: by how much an error in eps grows in the estimate of x0."""
    path, one = PATHS[name](), torch.ones((), dtype=torch.float64)
    return float(path.sigma(one) / path.alpha(one))


def flow(x: Tensor, denoise: Callable, steps: int, sign: float) -> Tensor:
    """The article's flow sampler, ``x + v dt`` with v = x0 - z and dt = sign / steps, with an exact denoiser."""
    for i in range(steps):
        x0, eps = denoise(x, torch.tensor(1 - i / steps, dtype=torch.float64))
        x = x + (x0 - eps) * (sign / steps)
    return x


def flow_facts() -> dict[str, float]:
    """One Euler step, the sign of dt, and how straight the exact flow to three points of the plane is."""
    path = PATHS["linear"]()
    denoise, x = two_modes(path), noise()
    one = euler(denoise, path, x, trailing(1, None))
    corners = torch.tensor([[0.0, 1.0], [0.9, -0.5], [-0.9, -0.5]], dtype=torch.float64)
    exact = mixture(path, corners, torch.full((3,), 1 / 3, dtype=torch.float64))
    angle = torch.arange(40, dtype=torch.float64) * (2 * math.pi / 40)
    radius = (-2 * (1 - (torch.arange(25, dtype=torch.float64) + 0.5) / 25).log()).sqrt()  # Rayleigh quantiles
    ring = torch.stack([torch.outer(radius, angle.cos()), torch.outer(radius, angle.sin())], -1).reshape(-1, 1, 1, 2)
    points, _, _ = trajectory(exact, path, ring, trailing(200, None))  # (S + 1, B, 2)
    length, chord = (points[1:] - points[:-1]).norm(dim=-1).sum(), (points[-1] - points[0]).norm(dim=-1).sum()
    return {
        "one": float(one.mean()),
        "one_std": float(one.std()),
        "mean": HIGH - LOW,
        "right": float(flow(x, denoise, 50, 1.0).std()),
        "wrong": float(flow(x, denoise, 50, -1.0).std()),
        "ratio": float(length / chord),
    }


def formula_values() -> dict[str, Any]:
    """Every number of the page that is about a formula."""
    return {
        "low": LOW,
        "std": math.sqrt(1 - (HIGH - LOW) ** 2 + WIDTH**2),
        "printed": printed_update(),
        "eps": eps_coefficients(),
        "per_step": per_step_noise(),
        "linear": amplification("vp-linear"),
        "scaled": amplification("vp-scaled-linear"),
        "flow": flow_facts(),
        "zero": VOCABULARY[0],
    }


# Claims


def _needs(row: dict[str, Any]) -> str:
    """What an effect has to be for its part to be supported, in words."""
    if pd.isna(row["margin"]):
        return ""
    low, high = effect_text(-row["margin"], row["unit"]), effect_text(row["margin"], row["unit"])
    between = f"has to lie between {low} and {high}"
    return {"difference": f"has to exceed {high}", "noninferior": f"has to exceed {low}"}.get(row["test"], between)


def _part(row: dict[str, Any]) -> dict[str, Any]:
    """A part of a claim in words."""
    interval = (
        ""
        if pd.isna(row["low"])
        else f"{effect_text(row['low'], row['unit'])} to {effect_text(row['high'], row['unit'])}"
    )
    return row | {
        "effect_text": "" if pd.isna(row["effect"]) else effect_text(row["effect"], row["unit"]),
        "interval_text": interval,
        "needs": _needs(row),
    }


def claims(frames: Frames, beside: Sequence[Frames] = ()) -> dict[int, dict[str, Any]]:
    """The claims of a run by number, each with its quotes and with the parts that decide and explain it.

    One that it cannot test is taken from a run beside it that can, with its name: the run that was made for the claim,
    or else the first.
    """
    found = {}
    for number_, row in _claims(frames).items():
        own = row | {"run": ""}
        if row["verdict"] == UNTESTED:
            others = [_claims(other).get(number_) | {"run": facts_of(other["provenance"])["run"]} for other in beside]
            able = [other for other in others if other["verdict"] != UNTESTED]
            own = next((other for other in able if other["preset"] == other["run"]), able[0] if able else own)
        found[number_] = own
    return found


def _claims(frames: Frames) -> dict[int, dict[str, Any]]:
    found = {}
    parts = frames["claim_parts"].to_dict("records")
    for row in frames["claims"].to_dict("records"):
        every = [_part(part) for part in parts if part["claim"] == row["claim"]]
        own = [part for part in every if part["decides"]]
        shown = own if len(own) <= FEW_PARTS else [part for part in own if part["part"] == row["part"]]
        verdicts = pd.Series([part["verdict"] for part in own], dtype=object).value_counts()
        counted = [f"{verdicts[verdict]} {verdict}" for verdict in schema.VERDICTS if verdict in verdicts]
        found[int(row["number"])] = row | {
            "quotes": json.loads(row["quotes"]),
            "shown": shown,
            "explained": [part for part in every if explains(part)],
            "total": len(own),
            "counted": ", ".join(counted),
        }
    return found


def speedup(frames: Frames) -> float | None:
    """Seconds of ddpm's 1,000 ancestral steps over those of its 50 DDIM steps, means over seeds; None without both."""
    cost = frames["cost"]
    own = cost[(cost.stage == "sample") & (cost.paradigm == "ddpm")]
    slow = own[(own.sampler == "ancestral") & (own.steps == 1000) & (own.arm == "")].seconds_per_1000.mean()
    fast = own[(own.sampler == "ddim") & (own.steps == 50)].seconds_per_1000.mean()
    return None if pd.isna(slow) or pd.isna(fast) else float(slow / fast)


def scales(frames: Frames) -> dict[str, float] | None:
    """Mean FID of sd1 over seeds at its best guidance scale and at 7.5, at the most steps that have both; else None."""
    own = frames["cells"]
    own = own[(own.paradigm == "sd1") & (own.arm == "") & (own.status == "ok") & (own.guidance > 0)]
    steps = own[own.guidance == 7.5].steps.max()
    if pd.isna(steps):
        return None
    means = own[own.steps == steps].groupby("guidance").fid.mean()
    return {"steps": int(steps), "best": float(means.idxmin()), "lowest": float(means.min()), "far": float(means[7.5])}


# The page


FLOW = {"with_target": "velocity", "with_path": "linear", "with_grid": "trailing@linear", "with_sampling_path": ""}


def effect(frames: Frames, factor: str, **settings: str) -> dict[str, Any] | None:
    """What one factor multiplies flow's FID by, in SHORT steps: ratio, low and high; None where no pair differs so.

    Args:
        settings: further columns of the table effects and their values.
    """
    own = frames["effects"]
    own = own[(own.factor == factor) & (own.steps == SHORT)]
    for column, value in (FLOW | settings).items():
        own = own[own[column] == value]
    return None if own.empty else {"steps": SHORT} | own.iloc[0][["ratio", "low", "high"]].to_dict()


def render(frames: Frames, template: str, folder: Path | None = None, beside: Sequence[Frames] = ()) -> str:
    """The page. The same tables give the same text.

    Args:
        frames: the tables READS of a run.
        template: the text of docs/article.md.j2.
        folder: that of a committed reference whose tables they are; None for a run's own.
        beside: the tables of runs that test what it cannot.
    """
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters["number"] = number
    environment.filters["percent"] = lambda value: f"{100 * value:.1f}%"
    provenance = facts_of(frames["provenance"])
    return environment.from_string(template, globals={"facts": formula_values()}).render(
        claims=claims(frames, beside),
        beside=[facts_of(other["provenance"])["run"] for other in beside],
        tally=tally(of_article(frames["claims"])).removeprefix("claims: "),
        run=provenance.get("run", "unknown"),
        provenance=provenance,
        floor=float(store.real_test_row(frames["floors"]).fid),
        folder=folder.as_posix() if folder else None,
        speedup=speedup(frames),
        scales=scales(frames),
        density=effect(frames, "density", with_network="unet"),
        mmdit=effect(frames, "network", older="unet", newer="mmdit"),
    )


def run(source: str, write: Path | None, beside: Sequence[str] = ()) -> None:
    """Write the page from the tables of a run, or print it.

    Args:
        source: a run's name, a reference's, or a folder of tables.
        write: the file; None for the terminal.
        beside: the same as source, of runs that test what it cannot.

    Raises:
        UserError: tables or the template are missing or damaged.
    """
    folder = find(source)
    frames = {name: store.read(folder, name) for name in READS}
    try:
        template = TEMPLATE.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{TEMPLATE}: cannot be read ({error.strerror}); run from the root of the repository") from None
    committed = folder.parent if folder.is_relative_to(REFERENCES) else None
    others = [{name: store.read(find(other), name) for name in READS} for other in beside]
    page = render(frames, template, committed, others)
    if write is None:
        print(page, end="")
        return
    with replacing(write) as temporary:
        temporary.write_text(page, encoding="utf-8")
    print(f"wrote {write}")
