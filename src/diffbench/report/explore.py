"""What the page's script needs to show any cell of the grid: its strips, its figures, and how to make it again."""

import json

import pandas as pd
from markupsafe import Markup

from diffbench import design
from diffbench.config.models import Params
from diffbench.design import NATIVE
from diffbench.report.charts import cell_id
from diffbench.report.finding import number
from diffbench.report.sprites import Album
from diffbench.tables import store

FIGURES = (  # column and words
    ("fid", "FID"),
    ("precision", "precision"),
    ("recall", "recall"),
    ("coverage", "coverage"),
    ("digit_error", "digit error"),
    ("joint_error", "any word wrong"),
)


def figures(seeds: pd.DataFrame, seconds: float, real: pd.Series) -> list[list[str]]:
    """The figures of a cell over its seeds: words, mean, range over seeds, and what real test images score."""
    done = seeds[seeds.status == "ok"]
    if done.empty:
        return []
    nfe = int(done.nfe.iloc[0])
    rows = [["network evaluations", f"{nfe}", "", ""], ["seconds per 1,000", number(seconds), "", ""]]
    for name, words in FIGURES:
        values = done[name].dropna()
        if len(values):
            floor = real.get(name)
            held = "" if pd.isna(floor) else f"real images {score_text(name, floor)}"
            rows.append([words, score_text(name, values.mean()), spread(name, values), held])
    return rows


def score_text(name: str, value: float) -> str:
    """A value as the page writes it: errors in per cent."""
    return f"{100 * value:.1f}%" if name.endswith("_error") else number(value)


def spread(name: str, values: pd.Series) -> str:
    """The range over seeds in words, empty for one seed."""
    if len(values) < 2:
        return ""
    return f"{score_text(name, values.min())} to {score_text(name, values.max())}"


def data(frames: dict[str, pd.DataFrame], params: Params, albums: dict[str, Album]) -> dict:
    """Paradigms with their cells, of which the page's script takes the stops of its controls.

    A cell holds its first strip (None where it failed), its figures, and the value of ``--steps`` that makes it.
    """
    seed, cells, cost = params.seeds[0], frames["cells"], frames["cost"]
    real = store.real_test_row(frames["floors"])
    keys = ["paradigm", "sampler", "steps", "guidance"]
    plain = dict(iter(cells[cells.arm == ""].groupby(keys)))
    clock = cost[(cost.stage == "sample") & (cost.arm == "")].groupby(keys).seconds_per_1000.mean()
    paradigms = {}
    for key, row in params.paradigms.items():
        own = {}
        for value in design.step_values(params, key):
            for cell in design.cells(params, key, seed, value):
                if cell.arm:
                    continue
                group = (key, cell.sampler, cell.steps, cell.guidance)
                seeds = plain[group]
                failed = (seeds[seeds.seed == seed].status != "ok").all()
                strip = None if failed else albums[key].rows[(cell.sampler, cell.steps, cell.guidance, "")]
                name = cell_id(*group).split("/", 1)[1]
                if name in own and value == NATIVE:
                    continue  # the grid has it too
                own[name] = {"strip": strip, "figures": figures(seeds, clock.get(group), real), "stage": value}
        paradigms[key] = {
            "label": row.label,
            "sprite": albums[key].cells.id,
            "conditional": row.conditional,
            "cells": own,
        }
    chosen = chosen_cells(frames, paradigms)
    for key, row in paradigms.items():
        row["chosen"] = chosen[key]
    return {"run": params.name, "seed": seed, "paradigms": paradigms, "opening": opening(frames, params, chosen)}


def chosen_cells(frames: dict[str, pd.DataFrame], paradigms: dict[str, dict]) -> dict[str, str]:
    """The cell that each row opens with: its best of few evaluations, else its best, else its first.

    Args:
        paradigms: those of ``data``, with the names of their cells.
    """
    found = {}
    for row in frames["paradigms"].to_dict("records"):
        able = paradigms[row["paradigm"]]["cells"]
        name = next(iter(able))
        for which in ("best_", "few_"):
            if not pd.isna(row[f"{which}fid"]):
                full = cell_id(row["paradigm"], row[f"{which}sampler"], row[f"{which}steps"], row["guidance"])
                own = full.split("/", 1)[1]
                name = own if own in able else name
        found[row["paradigm"]] = name
    return found


def opening(frames: dict[str, pd.DataFrame], params: Params, chosen: dict[str, str]) -> tuple[str, str]:
    """The two cells shown at first, each row's chosen one; none where every training failed.

    Right is the conditional row with the lowest FID of few evaluations, left the earliest other recipe.

    Args:
        chosen: the cell that each row opens with.
    """
    rows = frames["paradigms"].set_index("paradigm", drop=False)
    which = "few_" if rows.few_fid.notna().any() else "best_"  # a run may have no cell of few evaluations
    able = [key for key in params.paradigms if not pd.isna(rows.loc[key, f"{which}fid"])]
    asked = [key for key in able if params.paradigms[key].conditional] or able
    if not asked:
        return "", ""
    right = min(asked, key=lambda key: rows.loc[key, f"{which}fid"])
    left = next((key for key in asked if key != right), right)
    return f"{left}/{chosen[left]}", f"{right}/{chosen[right]}"


def panes(data: dict) -> dict[str, dict]:
    """The two cells that Explore opens with, as its script shows them; none where every training failed."""
    shown = {}
    for side, name in zip(("left", "right"), data["opening"], strict=True):
        if not name:
            continue
        paradigm, own = name.split("/", 1)
        row = data["paradigms"][paradigm]
        cell = row["cells"][own]
        sampler, steps, guidance = own.split("/")
        guided = f"guidance {guidance}" if row["conditional"] else "unconditional"
        target = f"results/{data['run']}/samples/{paradigm}/{data['seed']}/{cell['stage']}.npz"
        words = {
            "what": f"{sampler}, {steps} step{'' if steps == '1' else 's'}, {guided}",
            "command": f"snakemake --cores all {target}",
        }
        failed = "" if cell["strip"] is not None else "Failed: the training diverged or a sample is not finite."
        shown[side] = row | cell | words | {"missing": failed}
    return shown


def embedded(value: object) -> Markup:
    """JSON that may stand inside a script element: no character ends it or opens another."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))
