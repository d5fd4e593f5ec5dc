"""The charts of the page, made from the tables."""

import math
import re
from collections.abc import Callable
from typing import NamedTuple

import altair as alt
import pandas as pd
from markupsafe import Markup

from diffbench.config.models import Params, Row
from diffbench.report import charts
from diffbench.report.finding import NAMES, finest, number
from diffbench.tables import store

WIDE = {"width": 860, "height": 430}
NARROW = {"width": 205, "height": 290}  # with its names as wide as a phone
CLIP = re.compile(r"""(?<=["#])clip\d+(?=["')])""")  # the id of a clipping path


def drawn_rows(params: Params) -> list[str]:
    """The rows that charts show: all but those that are there for one factor alone, which the effects show."""
    return [key for key, row in params.paradigms.items() if row.role != "factor"]


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
ABOVE = 12  # times the lowest FID of the front: what lies above leaves the frame


def badges(count: int) -> list[str]:
    """Letters for the points of a front: a, b, ..."""
    return [chr(ord("a") + place) if place < 26 else str(place) for place in range(count)]


def fronts(frames: dict[str, pd.DataFrame], params: Params) -> dict[str, pd.DataFrame]:
    """The Pareto front of the conditional rows' cells by each cost, with a badge a point."""
    every = grid_cells(frames, params)
    every = every[every.paradigm.isin(drawn_rows(params))]
    means = every.groupby(["label", "paradigm", "cell", "nfe"], as_index=False)[["fid", "seconds_per_1000"]].mean()
    means = means.rename(columns={"seconds_per_1000": "seconds"})
    rivals = means[means.cell.isin(contenders(every, params))]
    found = {x: pareto(rivals, x, "fid") for x in COSTS}
    return {x: rows.assign(badge=badges(len(rows))) for x, rows in found.items()}


def front_rows(frames: dict[str, pd.DataFrame], params: Params) -> dict[str, list[dict]]:
    """The points of each front in words."""
    found: dict[str, list[dict]] = {}
    for x, rows in fronts(frames, params).items():
        found[x] = []
        for row in rows.to_dict("records"):
            _, sampler, steps, guidance = row["cell"].split("/")
            how = f"{sampler}, {steps} step{'' if steps == '1' else 's'}, guidance {guidance}"
            cost = f"{int(row[x])}" if x == "nfe" else number(row[x])
            found[x].append({name: row[name] for name in ("badge", "label", "fid")} | {"cost": cost, "how": how})
    return found


def cost_charts(
    frames: dict[str, pd.DataFrame], params: Params, floor: float, x: str, width: int, height: int
) -> alt.LayerChart | None:
    """Quality against evaluations or seconds with the Pareto front; None where that was not measured."""
    every = grid_cells(frames, params)
    every = every[every.paradigm.isin(drawn_rows(params))]
    chosen = every[every.guidance == every.guidance_chosen]
    first_sampler = {key: row.samplers[0] for key, row in params.paradigms.items()}
    own = chosen.sampler == chosen.paradigm.map(first_sampler)
    main = chosen[own | chosen.native.astype(bool)].assign(apart=~own)  # another sampler is no point of the curve
    main = main.assign(
        seconds=main.groupby("cell").seconds_per_1000.transform("mean"),
        beside=[f", {row.sampler}" if row.apart else "" for row in main.itertuples()],
    )
    if not main[x].notna().any():
        return None
    means = every.groupby(["label", "paradigm", "cell", "nfe"], as_index=False)[["fid", "seconds_per_1000"]].mean()
    means = means.rename(columns={"seconds_per_1000": "seconds"})
    front = fronts(frames, params)[x]
    top = ABOVE * float(front.fid.min()) if len(front) else None
    return charts.lines(
        main, charts.by_label(params, drawn_rows(params)), x, "fid", COSTS[x], "FID (log)", log_x=True, log_y=True,
        floor=floor, top=top, cloud=means[~means.cell.isin(set(main.cell))], front=front, width=width, height=height,
    )  # fmt: skip


def cost_figures(frames: dict[str, pd.DataFrame], params: Params, floor: float) -> dict[str, list[str]]:
    """Quality against evaluations and seconds, wide and narrow, and the samplers of each paradigm."""
    result = {}
    for x, title in COSTS.items():
        sizes = [cost_charts(frames, params, floor, x, **size) for size in (WIDE, NARROW)]
        name = f"FID against {title.removesuffix(' (log)')}"
        if sizes[0] is not None:
            result[x] = [charts.svg(chart, name) for chart in sizes if chart is not None]
    every = grid_cells(frames, params)
    solvers = every[(every.guidance == every.guidance_chosen) & ~every.native.astype(bool)]
    parts = []
    for key in drawn_rows(params):
        row = params.paradigms[key]
        if len(row.samplers) < 2 or not (solvers.paradigm == key).any():
            continue
        mine = solvers[solvers.paradigm == key].assign(label=lambda rows: rows.sampler)
        colour = charts.looks(params)[key]["colour"]
        styles = {
            name: {
                "colour": colour,
                "dash": charts.DASHES[i % 4],
                "path": charts.outlined(list(charts.OUTLINES)[i % 4], "full"),
            }
            for i, name in enumerate(row.samplers)
        }
        chart = charts.lines(mine, styles, "nfe", "fid", "NFE (log)", f"{row.label}: FID (log)", log_x=True, log_y=True,
                             floor=floor)  # fmt: skip
        parts.append(charts.svg(chart, f"FID against NFE by sampler, {row.label}"))
    return result | ({"solvers": parts} if parts else {})


class Series(NamedTuple):
    """One thing that some rows differ in.

    Attributes:
        least: how many values of it make a line.
        value: of a row and its entry in the table paradigms.
        same: what else of a row's size must be the same.
    """

    title: str
    least: int
    value: Callable[[Row, pd.Series], float]
    same: Callable[[Row], object]


SERIES = (
    Series("learning rate (log)", 3, lambda row, _: row.lr, lambda row: row.size),
    Series(
        "pixels of a patch (log)", 2, lambda row, _: row.size.get("patch", 1) ** 2, lambda row: row.size | {"patch": 0}
    ),
    Series(
        "million multiply-accumulates (log)", 3, lambda _, own: own.macs / 1e6, lambda row: row.size.get("patch", 1)
    ),
)


def series_figure(frames: dict[str, pd.DataFrame], params: Params, floor: float) -> dict[str, list[str]]:
    """FID against the one thing that rows of a kind differ in, but for each one's own learning rate; wide and narrow.

    At guidance 1 and the most steps of the grid, each under its own sampler.
    """
    table, own = frames["paradigms"].set_index("paradigm"), finest(frames["cells"], params)
    looks = charts.looks(params)
    for series in SERIES:
        groups: dict[tuple, list[str]] = {}
        for key, row in params.paradigms.items():
            kind = row.network, row.target, row.path, row.times, row.conditional, row.samplers[0]
            groups.setdefault((*kind, str(series.same(row))), []).append(key)
        x = {key: float(series.value(row, table.loc[key])) for key, row in params.paradigms.items()}
        long = [keys for keys in groups.values() if len({x[key] for key in keys}) >= series.least]
        drawn, styles = [], {}
        for keys in long:
            first = params.paradigms[keys[0]]
            label = f"{NAMES.get(first.network, first.network)} + {first.target.replace('@', ', loss on ')}"
            label += f", {first.path}, {first.times}" if label in styles else ""
            styles[label] = looks[keys[0]]
            mine = own[own.paradigm.isin(keys) & (own.sampler == first.samplers[0])]
            drawn.append(pd.DataFrame({"label": label, "x": mine.paradigm.map(x), "seed": mine.seed, "fid": mine.fid}))
        if drawn and any(map(len, drawn)):
            data = pd.concat(drawn)
            sizes = [
                charts.lines(data, styles, "x", "fid", series.title, "FID (log)", log_x=True, log_y=True, floor=floor,
                             width=width, height=300)
                for width in (360, NARROW["width"])
            ]  # fmt: skip
            name = f"FID against {series.title.removesuffix(' (log)')}"
            return {"series": [charts.svg(chart, name) for chart in sizes]}
    return {}


ADHERENCE = {
    "digit_error": "digit error",
    "weight_error": "weight error",
    "slant_error": "slant error",
    "joint_error": "any word wrong",
}


def guidance_figure(frames: dict[str, pd.DataFrame], params: Params, floor: float) -> dict[str, list[str]]:
    """FID, recall and errors of the prompt against the guidance scale, at equal distances.

    ``guidance`` has FID, recall and the digit, ``guidance_words`` the other words.
    """
    conditional = {key: row.conditional for key, row in params.paradigms.items()}
    first_sampler = {key: row.samplers[0] for key, row in params.paradigms.items()}
    cells = frames["cells"]
    sweep = cells[(cells.steps == params.sampling.guidance.sweep_steps) & (cells.status == "ok") & (cells.arm == "")]
    sweep = sweep[sweep.paradigm.map(conditional).astype(bool) & (sweep.sampler == sweep.paradigm.map(first_sampler))]
    sweep = sweep[~sweep.native.astype(bool) & sweep.paradigm.isin(drawn_rows(params))]
    if sweep.empty:
        return {}
    sweep = sweep.assign(
        label=sweep.paradigm.map({key: row.label for key, row in params.paradigms.items()}),
        cell=[charts.cell_id(r.paradigm, r.sampler, r.steps, r.guidance) for r in sweep.itertuples()],
    )
    styles, scale = charts.by_label(params, drawn_rows(params)), "guidance scale"
    asked = sweep[sweep.guidance > 0]
    wanted = [(sweep, "fid", "FID (log)", True), (sweep, "recall", "recall", False)]
    wanted += [(asked, name, words, False) for name, words in ADHERENCE.items() if asked[name].notna().any()]
    panels = {
        name: charts.svg(
            charts.lines(rows, styles, "guidance", name, scale, words, log_y=log, ordinal=True,
                         floor=floor if name == "fid" else None),
            f"{words.removesuffix(' (log)')} against guidance scale",
        )
        for rows, name, words, log in wanted
    }  # fmt: skip
    first = ("fid", "recall", "digit_error")
    words = [panel for name, panel in panels.items() if name not in first]
    shown = {"guidance": [panel for name, panel in panels.items() if name in first]}
    return shown | ({"guidance_words": words} if words else {})


def training_figures(frames: dict[str, pd.DataFrame], params: Params, floor: float) -> dict[str, list[str]]:
    """Loss by target, and quality of the averaged weights against images seen and against seconds."""
    styles = charts.by_label(params, drawn_rows(params))
    names = frames["paradigms"][["paradigm", "label", "target"]]
    names = names[names.paradigm.isin(drawn_rows(params))]
    training = frames["training"].merge(names, on="paradigm").dropna(subset=["loss"])
    result = {}
    parts = [
        charts.svg(
            charts.lines(rows, styles, "images", "loss", "images seen", f"loss of {target} (log)", log_y=True,
                         points=False),
            f"Training loss of {target} against images seen",
        )
        for target, rows in training.groupby("target")
    ]  # fmt: skip
    if parts:
        result["training"] = parts
    grown = frames["convergence"].merge(names, on="paradigm").dropna(subset=["fid"])
    if len(grown):
        cost = frames["cost"]
        rate = cost[cost.stage == "train"].groupby("paradigm").seconds_per_1000.mean()
        grown = grown.assign(seconds=grown.images * grown.paradigm.map(rate) / 1000)
        top = 100 * float(grown.groupby(["paradigm", "images"]).fid.mean().min())
        result["convergence"] = [
            charts.svg(
                charts.lines(grown, styles, x, "fid", f"training {x} (log)", "FID (log)", log_x=True, log_y=True,
                             floor=floor, top=top, height=280),
                f"FID against training {x}",
            )
            for x in ("images", "seconds")
            if grown[x].notna().any()
        ]  # fmt: skip
    return result


def noise_figure(frames: dict[str, pd.DataFrame], params: Params) -> dict[str, list[str]]:
    """Error of the estimate of x0 by noise level."""
    names = frames["paradigms"][["paradigm", "label"]]
    names = names[names.paradigm.isin(drawn_rows(params))]
    errors = frames["noise_error"].merge(names, on="paradigm")
    errors = errors.dropna(subset=["x0_error"]).assign(middle=lambda rows: (rows.low + rows.high) / 2)
    titles = {"t": "time t (0 data, 1 noise)", "log_snr": "log-SNR (right: cleaner)"}
    parts = [
        charts.svg(
            charts.lines(
                errors[errors.axis == axis], charts.by_label(params, drawn_rows(params)), "middle", "x0_error", title,
                "squared error of x0 (log)", log_y=True, height=280,
            ),
            f"Error of x0 by {title.split(' (')[0]}",
        )
        for axis, title in titles.items()
        if (errors.axis == axis).any()
    ]  # fmt: skip
    return {"noise": parts} if parts else {}


def confusion_figure(frames: dict[str, pd.DataFrame], params: Params) -> dict[str, list[str]]:
    """The digit seen against the digit asked for, at each paradigm's chosen guidance, over all seeds."""
    chosen = frames["paradigms"].set_index("paradigm").guidance
    table = frames["confusion"]
    parts = []
    for key in drawn_rows(params):
        row = params.paradigms[key]
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
        chart = charts.confusion(counts.assign(share=share, percent=percent, text=words), row.label)
        parts.append(charts.svg(chart, f"{row.label}: digits seen by digits asked for"))
    return {"confusion": parts} if parts else {}


def figures(frames: dict[str, pd.DataFrame], params: Params) -> dict[str, list[Markup]]:
    """The panels of every chart of the page, by name; one whose rows all failed is missing."""
    floor = float(store.real_test_row(frames["floors"]).fid)
    found = (
        cost_figures(frames, params, floor)
        | series_figure(frames, params, floor)
        | guidance_figure(frames, params, floor)
        | training_figures(frames, params, floor)
        | noise_figure(frames, params)
        | confusion_figure(frames, params)
    )
    # Vega counts its clipping paths over the life of the process; here they count over the page.
    ids: dict[str, str] = {}
    return {
        name: [Markup(CLIP.sub(lambda clip: ids.setdefault(clip[0], f"clip{len(ids)}"), text)) for text in panels]
        for name, panels in found.items()
    }
