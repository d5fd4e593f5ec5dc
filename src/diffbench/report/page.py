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
from ..intervals import interval
from . import charts, claims
from .figures import figures
from .finding import DASH, headline, number, second_opinion

HERE = Path(__file__).parent
SUMMARY = (
    ("few_fid", f"FID, at most {tables.FEW_NFE} NFE", "low"),
    ("best_fid", "best FID", "low"),
    ("best_pca_fid", "its PCA-FID", "low"),
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


def strips(params: Params, paradigm: str, seed: int) -> dict[tuple[str, int, float, str], int]:
    """The row of the picture of each cell, by sampler, steps, guidance and arm, in the order of scoring."""
    order = [tuple(cell.key.values()) for cell in params.all_cells(paradigm, seed)]
    return {key: row for row, key in enumerate(order)}


def grids(frames: dict[str, pd.DataFrame], params: Params) -> list[dict]:
    """For each paradigm the strips of its cells by steps and guidance, of the first seed."""
    cells, seed = frames["cells"], params.seeds[0]
    result = []
    for index, (key, row) in enumerate(params.paradigms.items()):
        uri, width, height = picture(Places(params.name).evaluation(key, seed).with_suffix(".png"))
        places = strips(params, key, seed)
        own = cells[(cells.paradigm == key) & (cells.seed == seed)].set_index(["sampler", "steps", "guidance", "arm"])
        plain = [(sampler, steps, guidance) for sampler, steps, guidance, arm in places if not arm]
        scales = sorted({guidance for _, _, guidance in plain})
        lines = []
        for sampler, steps in sorted({(sampler, steps) for sampler, steps, _ in plain}):
            line = []
            for scale in scales:
                place = places.get((sampler, steps, scale, ""))
                if place is None:
                    line.append(None)
                    continue
                cell = own.loc[(sampler, steps, scale, "")]
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
                "places": places,
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
            & (sampled.guidance == row.guidance) & (sampled.arm == "")
        ] if not pd.isna(row.best_fid) else sampled.iloc[:0]  # fmt: skip
        places = strips(params, key, params.seeds[0])
        best = (
            None if pd.isna(row.best_fid) else places[(row.best_sampler, int(row.best_steps), float(row.guidance), "")]
        )
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


OPTIONS = {
    "eta": "eta {:g}",
    "variance": "{} variance",
    "reading": "dt read as {}",
    "rescale": "rescaled by {:g}",
}


def arms(frames: dict[str, pd.DataFrame], params: Params, pictures: list[dict]) -> list[dict]:
    """The cells outside the grid, by paradigm: what each changes, its means over seeds and its samples."""
    cells = frames["cells"]
    floor = tables.floor(frames["floors"])
    result = []
    for sheet in pictures:
        own = frames["arms"][frames["arms"].paradigm == sheet["key"]]
        rows = []
        for row in own.itertuples():
            words = [
                text.format(value) for name, text in OPTIONS.items() if not_default(name, value := getattr(row, name))
            ]
            words += [f"{row.spacing} spacing"]
            if not pd.isna(row.interval_low):
                words.append(f"guided for log-SNR from {row.interval_low:g} to {row.interval_high:g}")
            seeds = cells[(cells.paradigm == sheet["key"]) & (cells.arm == row.arm)]
            done = seeds[seeds.status == "ok"]
            rows.append(
                {
                    "arm": row.arm,
                    "what": f"{row.sampler}, {row.steps} steps, guidance {row.guidance:g}; {', '.join(words)}",
                    "nfe": None if done.empty else int(done.nfe.iloc[0]),
                    "fid": done.fid.mean(),
                    "recall": done.recall.mean(),
                    "digit_error": done.digit_error.mean(),
                    "bias": done.brightness.mean() - floor.brightness,
                    "place": sheet["places"][(row.sampler, int(row.steps), float(row.guidance), row.arm)],
                    "failed": len(seeds) - len(done),
                }
            )
        if rows:
            result.append({"sheet": sheet, "label": sheet["label"], "rows": rows})
    return result


def not_default(name: str, value: object) -> bool:
    """Whether an arm sets an option."""
    return not pd.isna(value) and not (name == "rescale" and value == 0)


def per_seed(frame: pd.DataFrame, params: Params, *names: str) -> list[dict]:
    """Mean and 95% t interval over seeds of columns, a row for each paradigm."""
    rows = []
    for key, row in params.paradigms.items():
        own = frame[frame.paradigm == key]
        line: dict = {"label": row.label}
        for name in names:
            values = own[name].dropna().to_numpy(float)
            low, high = interval(values) if len(values) else (None, None)
            line[name] = {"mean": values.mean() if len(values) else None, "low": low, "high": high}
        rows.append(line)
    return rows


def reached(frames: dict[str, pd.DataFrame], params: Params) -> list[dict]:
    """When each paradigm reached each threshold: images of each seed, "more than the budget" where it did not."""
    table = frames["thresholds"]
    rows = []
    for key, row in params.paradigms.items():
        own = table[table.paradigm == key]
        cells = []
        for within, seeds in own.groupby("within"):
            shown = [f"> {r.budget:,}" if r.censored else f"{r.images:,}" for r in seeds.itertuples()]
            cells.append({"within": within, "seeds": shown})
        rows.append({"label": row.label, "cells": cells})
    return rows


def objectives(frames: dict[str, pd.DataFrame], params: Params) -> dict | None:
    """The grid of networks and objectives: mean FID of the paradigms that differ in nothing else."""
    columns = {
        "eps": ("eps", "vp-linear", "uniform"),
        "v": ("v", "vp-linear", "uniform"),
        "velocity": ("velocity", "linear", "logit-normal"),
    }
    names = frames["paradigms"].set_index("paradigm")
    found: dict[str, dict[str, dict]] = {}
    for key, row in params.paradigms.items():
        for name, facts in columns.items():
            if row.conditional and (row.target, row.path, row.times) == facts:
                values = names.loc[key]
                found.setdefault(row.network, {})[name] = {"label": row.label, "row": values}
    if len(found) < 2:
        return None
    return {"columns": list(columns), "rows": found}


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
    environment.filters["signed"] = lambda value: DASH if pd.isna(value) else f"{value:+.3f}"
    pictures = grids(frames, params)
    facts = dict(zip(frames["provenance"]["key"], frames["provenance"]["value"], strict=True))
    floors = tables.floor(frames["floors"])
    cells = frames["cells"].assign(label=lambda f: f.paradigm.map({k: p.label for k, p in params.paradigms.items()}))
    columns = [column for column in tables.TABLES["cells"].columns if column.name != "native"]
    return environment.get_template("report.html.j2").render(
        title=headline(frames["paradigms"], frames["cells"], frames["floors"]),
        style=Markup((HERE / "report.css").read_text(encoding="utf-8")),
        second_opinion=second_opinion(frames["paradigms"]),
        params=params,
        scale=3 if params.side < 16 else 1,
        facts=facts,
        floors=floors,
        drawn=frames["floors"][frames["floors"].split != "test"].to_dict("records"),
        floor_values=[(name, _cell(name, floors.get(name.removeprefix("best_")))) for name, *_ in SUMMARY],
        summary_columns=SUMMARY,
        summary=summary(frames, params, pictures),
        claims=claims.section(frames),
        figures=figures(frames, params),
        grids=pictures,
        arms=arms(frames, params, pictures),
        straight=per_seed(frames["straightness"], params, "path_over_chord", "velocity_deviation"),
        reached=reached(frames, params),
        objectives=objectives(frames, params),
        within=params.convergence.within,
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
