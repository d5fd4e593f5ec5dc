"""The charts of the page, made from the tables."""

import math

import altair as alt
import pandas as pd
from markupsafe import Markup

from diffbench.config.models import Params
from diffbench.report import charts, effects
from diffbench.tables import schema, store

SMALL = {"width": 250, "height": 230}


def grid_cells(frames: dict[str, pd.DataFrame], params: Params) -> pd.DataFrame:
    """Scored cells of the grid, with labels, seconds, the name of their cell and each paradigm's chosen scale."""
    keys = ["paradigm", "seed", "sampler", "steps", "guidance", "arm"]
    cost, chosen = frames["cost"], frames["paradigms"].set_index("paradigm").guidance
    clock = cost[cost.stage == "sample"][[*keys, "seconds_per_1000"]]
    cells = frames["cells"]
    rows = cells[(cells.status == "ok") & (cells.arm == "")].merge(clock, on=keys, how="left")
    names = [charts.cell_id(r.paradigm, r.sampler, r.steps, r.guidance) for r in rows.itertuples()]
    labels = {key: row.label for key, row in params.paradigms.items()}
    return rows.assign(label=rows.paradigm.map(labels), cell=names, guidance_chosen=rows.paradigm.map(chosen))


def pareto(points: pd.DataFrame, x: str, y: str) -> pd.DataFrame:
    """The points that no other beats in x and in y, lower being better in both, in rising order of x."""
    rising = points.dropna(subset=[x, y]).sort_values([x, y], kind="stable")
    return rising[rising[y] < rising[y].cummin().shift(fill_value=math.inf)]


def contenders(cells: pd.DataFrame, params: Params) -> set[str]:
    """Names of the cells that may stand on the Pareto front: of conditional rows, scored on every training seed.

    An unconditional row answers another question, so it beats nobody; and among many cells of one seed the lowest is
    the luckiest, which no mean over several can match.
    """
    own = cells[cells.paradigm.map({key: row.conditional for key, row in params.paradigms.items()}).astype(bool)]
    seeds = own.groupby("cell").seed.nunique()
    return set(seeds.index[seeds == len(params.seeds)])


COSTS = {"nfe": "network evaluations (log)", "seconds": "seconds per 1,000 images (log)"}


def cost_charts(
    frames: dict[str, pd.DataFrame], params: Params, floor: float, width: int = 1000, height: int = 420
) -> dict[str, alt.LayerChart]:
    """Quality against evaluations and seconds with the Pareto front; what was not measured is missing."""
    labels = [row.label for row in params.paradigms.values()]
    every = grid_cells(frames, params)
    chosen = every[every.guidance == every.guidance_chosen]
    first_sampler = {key: row.samplers[0] for key, row in params.paradigms.items()}
    own = chosen.sampler == chosen.paradigm.map(first_sampler)
    main = chosen[own | chosen.native.astype(bool)].assign(apart=~own)  # another sampler is no point of the curve
    main = main.assign(seconds=main.groupby("cell").seconds_per_1000.transform("mean"))
    means = every.groupby(["label", "paradigm", "cell", "nfe"], as_index=False)[["fid", "seconds_per_1000"]].mean()
    means = means.rename(columns={"seconds_per_1000": "seconds"})
    cloud = means[~means.cell.isin(set(main.cell))]
    rivals = means[means.cell.isin(contenders(every, params))]
    common = {"log_x": True, "log_y": True, "floor": floor, "width": width, "height": height}
    return {
        x: charts.lines(
            main, labels, x, "fid", title, "FID (log)", cloud=cloud, front=pareto(rivals, x, "fid"), **common
        )
        for x, title in COSTS.items()
        if main[x].notna().any()
    }


def cost_figures(frames: dict[str, pd.DataFrame], params: Params, floor: float) -> dict[str, str]:
    """Quality against evaluations and seconds, and the samplers of each paradigm."""
    result = {
        x: charts.svg(chart, f"FID against {COSTS[x].removesuffix(' (log)')}")
        for x, chart in cost_charts(frames, params, floor).items()
    }
    every = grid_cells(frames, params)
    solvers = every[(every.guidance == every.guidance_chosen) & ~every.native.astype(bool)]
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


ADHERENCE = {
    "digit_error": "digit error",
    "weight_error": "weight error",
    "slant_error": "slant error",
    "joint_error": "any word wrong",
}


def guidance_figure(frames: dict[str, pd.DataFrame], params: Params, floor: float) -> dict[str, str]:
    """FID, recall and the errors of every word of the prompt against the guidance scale."""
    order = {key: row.label for key, row in params.paradigms.items()}
    conditional = {key: row.conditional for key, row in params.paradigms.items()}
    first_sampler = {key: row.samplers[0] for key, row in params.paradigms.items()}
    cells = frames["cells"]
    sweep = cells[(cells.steps == params.sampling.guidance.sweep_steps) & (cells.status == "ok") & (cells.arm == "")]
    sweep = sweep[sweep.paradigm.map(conditional).astype(bool) & (sweep.sampler == sweep.paradigm.map(first_sampler))]
    sweep = sweep[~sweep.native.astype(bool)].assign(label=lambda frame: frame.paradigm.map(order))
    if sweep.empty:
        return {}
    sweep["cell"] = [charts.cell_id(r.paradigm, r.sampler, r.steps, r.guidance) for r in sweep.itertuples()]
    labels, scale = list(order.values()), "guidance scale"
    asked = sweep[sweep.guidance > 0]
    parts = [
        charts.lines(sweep, labels, "guidance", "fid", scale, "FID (log)", log_y=True, floor=floor, **SMALL),
        charts.lines(sweep, labels, "guidance", "recall", scale, "recall", **SMALL),
        *(
            charts.lines(asked, labels, "guidance", name, scale, words, **SMALL)
            for name, words in ADHERENCE.items()
            if asked[name].notna().any()
        ),
    ]
    return {"guidance": charts.svg(charts.beside(parts, columns=3), "FID, recall and errors against guidance scale")}


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


EFFECTS = (("few_", f"ratio of FID, at most {schema.FEW_NFE} evaluations (log)"), ("best_", "ratio of best FID (log)"))


def effect_figure(frames: dict[str, pd.DataFrame], params: Params) -> dict[str, str]:
    """What the network buys and what the objective buys, rows that differ in nothing else."""
    panels = [(effects.ratios(frames, params, which), title) for which, title in EFFECTS]
    parts = [charts.effects(rows, title, names=index == 0) for index, (rows, title) in enumerate(panels) if len(rows)]
    name = "Ratios of FID between rows that differ in the network or in the objective"
    # Room for labels in a font that is wider than the one the layout was measured with.
    padding = {"left": 60, "right": 10, "top": 5, "bottom": 5}
    return {"effects": charts.svg(alt.hconcat(*parts, padding=padding), name)} if parts else {}


def confusion_figure(frames: dict[str, pd.DataFrame], params: Params) -> dict[str, str]:
    """The digit seen against the digit asked for, at each paradigm's chosen guidance, over all seeds."""
    chosen = frames["paradigms"].set_index("paradigm").guidance
    table = frames["confusion"]
    parts = []
    for key, row in params.paradigms.items():
        own = table[(table.paradigm == key) & (table.guidance == chosen.get(key))]
        if own.empty:
            continue
        counts = own.groupby(["asked", "shown"], as_index=False).images.sum()
        share = counts.images / counts.groupby("asked").images.transform("sum")
        percent = [f"{100 * value:.0f}" for value in share]
        words = [
            f"{row.label}: of {asked} asked for, {100 * value:.1f}% seen as {seen}"
            for asked, seen, value in zip(counts.asked, counts.shown, share, strict=True)
        ]
        parts.append(charts.confusion(counts.assign(share=share, percent=percent, text=words), row.label))
    if not parts:
        return {}
    return {"confusion": charts.svg(charts.beside(parts, columns=4), "Digits seen by digits asked for")}


def figures(frames: dict[str, pd.DataFrame], params: Params) -> dict[str, Markup]:
    """Every chart of the page, by name; one whose rows all failed is missing."""
    floor = float(store.real_test_row(frames["floors"]).fid)
    found = (
        cost_figures(frames, params, floor)
        | guidance_figure(frames, params, floor)
        | training_figures(frames, params, floor)
        | noise_figure(frames, params)
        | effect_figure(frames, params)
        | confusion_figure(frames, params)
    )
    return {name: Markup(text) for name, text in found.items()}
