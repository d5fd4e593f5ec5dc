"""The report stage: the tables and pictures of a run as one HTML file."""

import base64
import struct
from pathlib import Path

import jinja2
import pandas as pd
from markupsafe import Markup

from .. import tables
from ..config import Params
from ..errors import UserError
from ..files import Places, replacing
from . import charts
from .finding import DASH, headline, number

HERE = Path(__file__).parent
SUMMARY = (
    ("few_fid", f"FID, at most {tables.FEW_NFE} NFE", "low"),
    ("best_fid", "best FID", "low"),
    ("best_nfe", "NFE of the best", "low"),
    ("seconds", "s per 1,000", "low"),
    ("precision", "precision", "high"),
    ("recall", "recall", "high"),
    ("digit_error", "digit error", "low"),
)


def picture(path: Path) -> tuple[str, int, int]:
    """A PNG as a data URI, with its width and height in pixels.

    Raises:
        UserError: missing or not a PNG.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); run 'snakemake --cores all' to make it") from None
    if content[:8] != b"\x89PNG\r\n\x1a\n":
        raise UserError(f"{path}: damaged; delete it and run 'snakemake --cores all' again")
    width, height = struct.unpack(">II", content[16:24])
    return f"data:image/png;base64,{base64.b64encode(content).decode()}", width, height


def strips(params: Params, paradigm: str, seed: int) -> dict[tuple[str, int, float], int]:
    """The row of the picture of each cell, by sampler, steps and guidance: the order ``evaluate`` scored them in."""
    order = [
        (cell.sampler, cell.steps, cell.guidance)
        for steps in params.step_values(paradigm)
        for cell in params.cells(paradigm, seed, steps)
    ]
    return {key: row for row, key in enumerate(order)}


def curves(frames: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Scored cells at each paradigm's chosen guidance, with labels and seconds."""
    paradigms, cells, cost = frames["paradigms"], frames["cells"], frames["cost"]
    keys = ["paradigm", "seed", "sampler", "steps", "guidance"]
    clock = cost[cost.stage == "sample"][[*keys, "seconds_per_1000"]]
    merged = cells.merge(clock, on=keys, how="left").merge(
        paradigms[["paradigm", "label", "guidance"]], on="paradigm", suffixes=("", "_chosen")
    )
    return merged[(merged.status == "ok") & (merged.guidance == merged.guidance_chosen)]


def figures(frames: dict[str, pd.DataFrame], params: Params) -> dict[str, Markup]:
    """Every chart of the page, by name."""
    paradigms, cells = frames["paradigms"], frames["cells"]
    order = {key: row.label for key, row in params.paradigms.items()}
    labels = list(order.values())
    floor = float(tables.floor(frames["floors"]).fid)
    first_sampler = {key: row.samplers[0] for key, row in params.paradigms.items()}
    chosen = curves(frames)
    native = chosen.native.astype(bool)
    main = chosen[(chosen.sampler == chosen.paradigm.map(first_sampler)) | native]
    result = {}
    common = {"log_x": True, "log_y": True, "floor": floor}
    if len(main):
        result["nfe"] = charts.svg(
            charts.lines(main, labels, "nfe", "fid", "network evaluations (log)", "FID (log)", **common),
            "FID against NFE",
        )
        result["seconds"] = charts.svg(
            charts.lines(
                main.assign(seconds=main.groupby(["paradigm", "sampler", "steps"]).seconds_per_1000.transform("mean")),
                labels, "seconds", "fid", "seconds per 1,000 images (log)", "FID (log)", **common,
            ),
            "FID against seconds",
        )  # fmt: skip
    sweep = cells[(cells.steps == params.sampling.guidance.sweep_steps) & (cells.status == "ok")]
    sweep = sweep[sweep.paradigm.map({key: row.conditional for key, row in params.paradigms.items()}).astype(bool)]
    sweep = sweep[~sweep.native.astype(bool)].assign(label=lambda frame: frame.paradigm.map(order))
    if len(sweep):
        small = {"width": 250, "height": 230}
        parts = [
            charts.lines(
                sweep, labels, "guidance", "fid", "guidance scale", "FID (log)", log_y=True, floor=floor, **small
            ),
            charts.lines(sweep, labels, "guidance", "recall", "guidance scale", "recall", **small),
            charts.lines(
                sweep[sweep.guidance > 0], labels, "guidance", "digit_error", "guidance scale", "digit error", **small
            ),
        ]
        result["guidance"] = charts.svg(charts.beside(parts), "FID, recall and digit error against guidance scale")
    training = frames["training"].merge(paradigms[["paradigm", "label", "target"]], on="paradigm")
    parts = [
        charts.lines(
            rows.dropna(subset=["loss"]), labels, "images", "loss", "images seen", f"loss of {target} (log)",
            log_y=True, points=False, width=250, height=230,
        )
        for target, rows in training.groupby("target")
    ]  # fmt: skip
    if parts:
        result["training"] = charts.svg(charts.beside(parts), "Training loss against images seen, by target")
    return {name: Markup(text) for name, text in result.items()}


def grids(frames: dict[str, pd.DataFrame], params: Params) -> list[dict]:
    """For each paradigm the strips of its cells by steps and guidance, of the first seed."""
    cells, seed = frames["cells"], params.seeds[0]
    result = []
    for index, (key, row) in enumerate(params.paradigms.items()):
        uri, width, height = picture(Places(params.name).evaluation(key, seed).with_suffix(".png"))
        places = strips(params, key, seed)
        own = cells[(cells.paradigm == key) & (cells.seed == seed)].set_index(["sampler", "steps", "guidance"])
        scales = sorted({guidance for _, _, guidance in places})
        lines = []
        for sampler, steps in sorted({(s, n) for s, n, _ in places}, key=lambda pair: (pair[0], pair[1])):
            line = []
            for scale in scales:
                place = places.get((sampler, steps, scale))
                if place is None:
                    line.append(None)
                    continue
                cell = own.loc[(sampler, steps, scale)]
                line.append({"place": place, "fid": number(cell.fid), "nfe": cell.nfe, "failed": cell.status != "ok"})
            lines.append({"sampler": sampler, "steps": steps, "cells": line})
        result.append(
            {
                "id": f"s{index}",
                "key": key,
                "label": row.label,
                "conditional": row.conditional,
                "scales": scales,
                "lines": lines,
                "uri": Markup(uri),
                "rows": len(places),
                "width": width,
                "height": height,
            }
        )
    return result


def summary(frames: dict[str, pd.DataFrame], params: Params, pictures: list[dict]) -> list[dict]:
    """The rows of the summary table, in the order of the params."""
    cost = frames["cost"]
    sampled = cost[cost.stage == "sample"]
    by_id = frames["paradigms"].set_index("paradigm")
    sheets = {sheet["key"]: sheet for sheet in pictures}
    rows = []
    for index, key in enumerate(params.paradigms):
        row = by_id.loc[key]
        same = sampled[
            (sampled.paradigm == key) & (sampled.sampler == row.best_sampler) & (sampled.steps == row.best_steps)
            & (sampled.guidance == row.guidance)
        ] if not pd.isna(row.best_fid) else sampled.iloc[:0]  # fmt: skip
        places = strips(params, key, params.seeds[0])
        best = None if pd.isna(row.best_fid) else places[(row.best_sampler, int(row.best_steps), float(row.guidance))]
        seconds = same.seconds_per_1000.mean()
        values = {name: row.get(name) for name, *_ in SUMMARY} | {"seconds": seconds}
        interval = "" if pd.isna(row.best_fid_low) else f"{number(row.best_fid_low)} to {number(row.best_fid_high)}"
        rows.append(
            {
                "label": row.label,
                "conditional": bool(row.conditional),
                "colour": f"var(--p{index % len(charts.COLOURS)})",
                "what": f"{row.network}, {row.target}, {row.path}",
                "guidance": "none" if not row.conditional else DASH if pd.isna(row.guidance) else f"{row.guidance:g}",
                "values": [(name, _cell(name, values[name])) for name, *_ in SUMMARY],
                "interval": interval,
                "seeds_ok": int(row.seeds_ok),
                "parameters": f"{int(row.parameters):,}",
                "macs": f"{row.macs / 1e6:.1f} M",
                "best": best,
                "sheet": sheets[key],
            }
        )
    return rows


def _cell(name: str, value: float) -> str:
    if value is None or pd.isna(value):
        return DASH
    if name == "best_nfe":
        return f"{int(value)}"
    return f"{100 * value:.1f}%" if name == "digit_error" else number(value)


def render(frames: dict[str, pd.DataFrame], params: Params) -> str:
    """The page. The same tables and pictures give the same text."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["number"] = number
    pictures = grids(frames, params)
    facts = dict(zip(frames["provenance"]["key"], frames["provenance"]["value"], strict=True))
    floors = tables.floor(frames["floors"])
    cells = frames["cells"].assign(label=lambda f: f.paradigm.map({k: p.label for k, p in params.paradigms.items()}))
    columns = [column for column in tables.TABLES["cells"].columns if column.name != "native"]
    return environment.get_template("report.html.j2").render(
        title=headline(frames["paradigms"], frames["cells"], frames["floors"]),
        style=Markup((HERE / "report.css").read_text(encoding="utf-8")),
        params=params,
        scale=3 if params.side < 16 else 1,
        facts=facts,
        floors=floors,
        drawn=frames["floors"][frames["floors"].split != "test"].to_dict("records"),
        floor_values=[(name, _cell(name, floors.get({"best_fid": "fid"}.get(name, name)))) for name, *_ in SUMMARY],
        summary_columns=SUMMARY,
        summary=summary(frames, params, pictures),
        figures=figures(frames, params),
        grids=pictures,
        failed=[row.label for row in frames["paradigms"].itertuples() if row.seeds_ok < len(params.seeds)],
        cells=cells.to_dict("records"),
        columns=columns,
        tables=tables.TABLES,
        cell=_cell,
    )


def run(params: Params) -> None:
    """Write reports/<run>/report.html.

    Raises:
        UserError: a table or a picture is missing or damaged.
    """
    places = Places(params.name)
    frames = {name: tables.read(places.tables, name) for name in tables.TABLES}
    with replacing(places.report) as temporary:
        temporary.write_text(render(frames, params), encoding="utf-8")
