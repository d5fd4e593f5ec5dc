"""The charts of the page, made from the tables."""

import pandas as pd
from markupsafe import Markup

from .. import tables
from ..config import Params
from . import charts

SMALL = {"width": 250, "height": 230}


def curves(frames: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Scored cells of the grid at each paradigm's chosen guidance, with labels and seconds."""
    paradigms, cells, cost = frames["paradigms"], frames["cells"], frames["cost"]
    keys = ["paradigm", "seed", "sampler", "steps", "guidance", "arm"]
    clock = cost[cost.stage == "sample"][[*keys, "seconds_per_1000"]]
    merged = cells.merge(clock, on=keys, how="left").merge(
        paradigms[["paradigm", "label", "guidance"]], on="paradigm", suffixes=("", "_chosen")
    )
    return merged[(merged.status == "ok") & (merged.guidance == merged.guidance_chosen) & (merged.arm == "")]


def cost_figures(frames: dict[str, pd.DataFrame], params: Params, floor: float) -> dict[str, str]:
    """Quality against evaluations and seconds, and the samplers of each paradigm against each other."""
    labels = [row.label for row in params.paradigms.values()]
    chosen = curves(frames)
    if chosen.empty:
        return {}
    first_sampler = {key: row.samplers[0] for key, row in params.paradigms.items()}
    main = chosen[(chosen.sampler == chosen.paradigm.map(first_sampler)) | chosen.native.astype(bool)]
    common = {"log_x": True, "log_y": True, "floor": floor}
    result = {}
    if len(main):
        seconds = main.groupby(["paradigm", "sampler", "steps"]).seconds_per_1000.transform("mean")
        result["nfe"] = charts.svg(
            charts.lines(main, labels, "nfe", "fid", "network evaluations (log)", "FID (log)", **common),
            "FID against NFE",
        )
        result["seconds"] = charts.svg(
            charts.lines(
                main.assign(seconds=seconds), labels, "seconds", "fid", "seconds per 1,000 images (log)", "FID (log)",
                **common,
            ),
            "FID against seconds",
        )  # fmt: skip
    solvers = chosen[~chosen.native.astype(bool)]
    names = list(dict.fromkeys(sampler for row in params.paradigms.values() for sampler in row.samplers))
    parts = [
        charts.lines(
            solvers[solvers.paradigm == key].assign(label=lambda rows: rows.sampler),
            names, "nfe", "fid", "NFE (log)", f"FID, {row.label} (log)", log_x=True, log_y=True, floor=floor, **SMALL,
        )
        for key, row in params.paradigms.items()
        if len(row.samplers) > 1 and (solvers.paradigm == key).any()
    ]  # fmt: skip
    if parts:
        result["solvers"] = charts.svg(
            charts.beside(parts, columns=3), "FID against NFE by sampler, a panel a paradigm"
        )
    return result


def guidance_figure(frames: dict[str, pd.DataFrame], params: Params, floor: float) -> dict[str, str]:
    """FID, recall and digit error against the guidance scale."""
    order = {key: row.label for key, row in params.paradigms.items()}
    conditional = {key: row.conditional for key, row in params.paradigms.items()}
    first_sampler = {key: row.samplers[0] for key, row in params.paradigms.items()}
    cells = frames["cells"]
    sweep = cells[(cells.steps == params.sampling.guidance.sweep_steps) & (cells.status == "ok") & (cells.arm == "")]
    sweep = sweep[sweep.paradigm.map(conditional).astype(bool) & (sweep.sampler == sweep.paradigm.map(first_sampler))]
    sweep = sweep[~sweep.native.astype(bool)].assign(label=lambda frame: frame.paradigm.map(order))
    if sweep.empty:
        return {}
    labels, scale = list(order.values()), "guidance scale"
    asked = sweep[sweep.guidance > 0]
    parts = [
        charts.lines(sweep, labels, "guidance", "fid", scale, "FID (log)", log_y=True, floor=floor, **SMALL),
        charts.lines(sweep, labels, "guidance", "recall", scale, "recall", **SMALL),
        charts.lines(asked, labels, "guidance", "digit_error", scale, "digit error", **SMALL),
    ]
    return {"guidance": charts.svg(charts.beside(parts), "FID, recall and digit error against guidance scale")}


def training_figures(frames: dict[str, pd.DataFrame], params: Params, floor: float) -> dict[str, str]:
    """Loss by target, and quality of the averaged weights against images seen and against seconds."""
    labels = [row.label for row in params.paradigms.values()]
    names = frames["paradigms"][["paradigm", "label", "target"]]
    training = frames["training"].merge(names, on="paradigm").dropna(subset=["loss"])
    result = {}
    parts = [
        charts.lines(
            rows, labels, "images", "loss", "images seen", f"loss of {target} (log)", log_y=True, points=False, **SMALL
        )
        for target, rows in training.groupby("target")
    ]
    if parts:
        result["training"] = charts.svg(charts.beside(parts, columns=3), "Training loss against images seen, by target")
    grown = frames["convergence"].merge(names, on="paradigm").dropna(subset=["fid"])
    if len(grown):
        cost = frames["cost"]
        rate = cost[cost.stage == "train"].groupby("paradigm").seconds_per_1000.mean()
        grown = grown.assign(seconds=grown.images * grown.paradigm.map(rate) / 1000)
        common = {"log_x": True, "log_y": True, "floor": floor, "width": 380, "height": 280}
        parts = [
            charts.lines(grown, labels, "images", "fid", "training images (log)", "FID (log)", **common),
            charts.lines(grown, labels, "seconds", "fid", "training seconds (log)", "FID (log)", **common),
        ]
        result["convergence"] = charts.svg(charts.beside(parts), "FID against training images and training seconds")
    return result


def noise_figure(frames: dict[str, pd.DataFrame], params: Params) -> dict[str, str]:
    """Error of the estimate of x0 by noise level."""
    labels = [row.label for row in params.paradigms.values()]
    errors = frames["noise_error"].merge(frames["paradigms"][["paradigm", "label"]], on="paradigm")
    errors = errors.dropna(subset=["x0_error"]).assign(middle=lambda rows: (rows.low + rows.high) / 2)
    titles = {"t": "time t (0 data, 1 noise)", "log_snr": "log-SNR (right: cleaner)"}
    parts = [
        charts.lines(
            errors[errors.axis == axis], labels, "middle", "x0_error", title, "squared error of x0 (log)", log_y=True,
            width=380, height=280,
        )
        for axis, title in titles.items()
        if (errors.axis == axis).any()
    ]  # fmt: skip
    return {"noise": charts.svg(charts.beside(parts), "Error of x0 by time and by log-SNR")} if parts else {}


def figures(frames: dict[str, pd.DataFrame], params: Params) -> dict[str, Markup]:
    """Every chart of the page, by name; one whose rows all failed is missing."""
    floor = float(tables.floor(frames["floors"]).fid)
    found = (
        cost_figures(frames, params, floor)
        | guidance_figure(frames, params, floor)
        | training_figures(frames, params, floor)
        | noise_figure(frames, params)
    )
    return {name: Markup(text) for name, text in found.items()}
