"""The parts of the page that are lists and tables: what its templates need, from the tables and the pictures."""

from collections import Counter

import pandas as pd

from diffbench.config.models import Params
from diffbench.data.vocabulary import SLANTS, WEIGHTS
from diffbench.report.charts import cell_id, looks
from diffbench.report.finding import finest, number, pairs
from diffbench.report.sprites import Album
from diffbench.tables import store
from diffbench.tables.intervals import interval


def broken(frames: dict[str, pd.DataFrame], params: Params) -> list[dict]:
    """Rows with failed cells of trainings that did not fail, and how many."""
    training, cells = frames["training"], frames["cells"]
    diverged = set(map(tuple, training[training.status != "ok"][["paradigm", "seed"]].to_numpy()))
    bad = cells[cells.status != "ok"]
    counts = Counter(row.paradigm for row in bad.itertuples() if (row.paradigm, row.seed) not in diverged)
    return [{"label": row.label, "count": counts[key]} for key, row in params.paradigms.items() if counts[key]]


def absent(frames: dict[str, pd.DataFrame]) -> list[str]:
    """Labels of the rows without a sample, which no chart can draw."""
    cells = frames["cells"]
    have = set(cells[cells.status == "ok"].paradigm)
    return [row.label for row in frames["paradigms"].itertuples() if row.paradigm not in have]


def training_time(frames: dict[str, pd.DataFrame]) -> str:
    """How long all trainings took, one after the other, in words; empty where no clock ran."""
    cost = frames["cost"]
    total = cost[cost.stage == "train"].seconds.sum()
    if total <= 0:
        return ""
    return f"{number(total / 3600)} h" if total >= 3600 else f"{number(total / 60)} min"


def grids(frames: dict[str, pd.DataFrame], params: Params, albums: dict[str, Album]) -> list[dict]:
    """For each paradigm the strips of its cells by steps and guidance, of the first seed."""
    cells, seed = frames["cells"], params.seeds[0]
    result = []
    for key, row in params.paradigms.items():
        album = albums[key]
        own = cells[(cells.paradigm == key) & (cells.seed == seed)].set_index(["sampler", "steps", "guidance", "arm"])
        plain = [(sampler, steps, guidance) for sampler, steps, guidance, arm in album.rows if not arm]
        scales = sorted({guidance for _, _, guidance in plain})
        lines = []
        for sampler, steps in sorted({(sampler, steps) for sampler, steps, _ in plain}):
            line = []
            for scale in scales:
                strip = album.rows.get((sampler, steps, scale, ""))
                if strip is None:
                    line.append(None)
                    continue
                cell = own.loc[(sampler, steps, scale, "")]
                line.append({"strip": strip, "fid": number(cell.fid), "nfe": cell.nfe, "failed": cell.status != "ok"})
            lines.append({"sampler": sampler, "steps": steps, "cells": line})
        first = row.conditional and not any(sheet["open"] for sheet in result)
        facts = {"label": row.label, "conditional": row.conditional, "sprite": album.cells, "open": first}
        result.append(facts | {"scales": scales, "lines": lines})
    return result


OPTIONS = {
    "eta": "eta {:g}",
    "variance": "{} variance",
    "reading": "dt read as {}",
    "rescale": "rescaled by {:g}",
    "negative": "away from the network after {:.0%} of its training",
    "precision": "in {}",
}


def arms(frames: dict[str, pd.DataFrame], params: Params, albums: dict[str, Album]) -> list[dict]:
    """The cells outside the grid, by paradigm: what each changes, its means over seeds and its samples."""
    cells = frames["cells"]
    floor = store.real_test_row(frames["floors"])
    result = []
    for key, paradigm in params.paradigms.items():
        own = frames["arms"][frames["arms"].paradigm == key]
        rows = []
        for row in own.itertuples():
            options = {name: getattr(row, name, None) for name in OPTIONS}  # negative is a column since 2.6
            words = [OPTIONS[name].format(value) for name, value in options.items() if not_default(name, value)]
            words += [f"{row.spacing} spacing"]
            if not pd.isna(getattr(row, "path", None)):  # a column since 2.5
                words.append(f"on the path {row.path}")
            if not pd.isna(row.interval_low):
                words.append(f"guided for log-SNR from {row.interval_low:g} to {row.interval_high:g}")
            seeds = cells[(cells.paradigm == key) & (cells.arm == row.arm)]
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
                    "strip": albums[key].rows[(row.sampler, int(row.steps), float(row.guidance), row.arm)],
                    "failed": len(seeds) - len(done),
                }
            )
        if rows:
            result.append({"sprite": albums[key].cells, "label": paradigm.label, "rows": rows})
    return result


def not_default(name: str, value: object) -> bool:
    """Whether an arm sets an option."""
    return not pd.isna(value) and not (name == "rescale" and value == 0)


STRAIGHT = {  # columns that the page shows, and what it calls them
    "path_over_chord": "length / chord",
    "velocity_deviation": "deviation",
    "exact_velocity_deviation": "deviation of the exact flow",
}


def per_seed(frame: pd.DataFrame, params: Params, *names: str) -> list[dict]:
    """Mean and 95% t interval over seeds of columns, a row for each paradigm."""
    rows = []
    for key, row in params.paradigms.items():
        own = frame[frame.paradigm == key]
        line: dict = {"key": key, "label": row.label}
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
        rows.append({"key": key, "label": row.label, "cells": cells})
    return rows


def objectives(frames: dict[str, pd.DataFrame], params: Params) -> dict | None:
    """The grid of networks and objectives: FID of each row's best cell, and of its best of few evaluations."""
    columns = {
        "eps": ("eps", "vp-linear", "uniform"),
        "v": ("v", "vp-linear", "uniform"),
        "velocity": ("velocity", "linear", "logit-normal"),
    }
    by_id = frames["paradigms"].set_index("paradigm")
    found: dict[str, dict[str, dict]] = {}
    for key, row in params.paradigms.items():
        for name, facts in columns.items():
            if row.conditional and (row.target, row.path, row.times) == facts:
                values = {which: by_id[f"{which}_fid"].get(key) for which in ("best", "few")}
                found.setdefault(row.network, {})[name] = {"label": row.label} | values
    if len(found) < 2:
        return None
    return {"columns": [name for name in columns if any(name in row for row in found.values())], "rows": found}


def films(frames: dict[str, pd.DataFrame], params: Params, albums: dict[str, Album]) -> list[dict]:
    """The denoising of each paradigm, without a picture where the training on the first seed failed."""
    trained = frames["training"]
    failed = set(trained[(trained.seed == params.seeds[0]) & (trained.status != "ok")].paradigm)
    styles = looks(params)
    return [
        {"key": key, "mark": styles[key], "label": row.label, "sprite": None if key in failed else albums[key].film}
        for key, row in params.paradigms.items()
    ]


def stills(frames: int) -> list[dict]:
    """Five frames of the film and their times, for paper and for a page without its script."""
    return [{"index": i, "t": f"{1 - i / frames:.2g}"} for i in sorted({round(frames * k / 4) for k in range(5)})]


def opposites(frames: dict[str, pd.DataFrame], params: Params) -> list[str]:
    """Rows whose first guess is shown: each pair of eps and velocity, or all conditional rows where there is none."""
    rows = frames["paradigms"].set_index("paradigm")
    found = [pair[name].paradigm for pair in pairs(frames["paradigms"]) for name in ("eps", "velocity")]
    return found or [key for key, row in params.paradigms.items() if row.conditional and rows.seeds_ok[key]]


AXES = {"weight": WEIGHTS, "slant": SLANTS}
WORDS = ("digit_error", "weight_error", "slant_error")


def missed(frames: dict[str, pd.DataFrame], params: Params) -> list[dict]:
    """Which word of the prompt each row misses, mean over seeds, in the cells of the failures."""
    chosen, cells = frames["paradigms"].set_index("paradigm").guidance, frames["cells"]
    swept = cells[(cells.steps == params.sampling.guidance.sweep_steps) & (cells.status == "ok") & (cells.arm == "")]
    found = []
    for key, row in params.paradigms.items():
        own = swept[(swept.paradigm == key) & (swept.guidance == chosen.get(key)) & (swept.sampler == row.samplers[0])]
        if row.conditional and len(own):
            found.append({"key": key, "label": row.label, "values": [float(own[name].mean()) for name in WORDS]})
    return found


def combinations(frames: dict[str, pd.DataFrame], params: Params) -> list[dict]:
    """How often each row misses a prompt whose combination of words no network was trained on, and any other prompt.

    Means over seeds at guidance 1 and the most steps, with what the first exceeds the second by and its 95% interval,
    and what chance gives. Empty where no combination was withheld.
    """
    if params.data.withheld == "none":
        return []
    plain = finest(frames["cells"], params)
    found = []
    for key, row in params.paradigms.items():
        own = plain[(plain.paradigm == key) & (plain.sampler == row.samplers[0])]
        own = own.dropna(subset=["joint_error_withheld"])
        if len(own):
            new, gap = own.joint_error_withheld.astype(float), own.joint_error_gap.astype(float)
            low, high = interval(gap.to_numpy())
            found.append(
                {"key": key, "label": row.label, "new": new.mean(), "other": (new - gap).mean(), "gap": gap.mean(),
                 "low": low, "high": high, "chance": own.joint_error_shuffled.mean()}
            )  # fmt: skip
    return found


def word_shares(frames: dict[str, pd.DataFrame], params: Params) -> list[dict]:
    """What was measured where each weight and slant was asked for, at each row's chosen guidance, over all seeds.

    Of each row, by axis and word asked for, the shares of the three words.
    """
    chosen, table = frames["paradigms"].set_index("paradigm").guidance, frames["word_confusion"]
    found = []
    for key, row in params.paradigms.items():
        own = table[(table.paradigm == key) & (table.guidance == chosen.get(key))]
        if own.empty or row.role == "factor":
            continue
        axes = {}
        for axis, words in AXES.items():
            counts = own[own.axis == axis].groupby(["asked", "shown"]).images.sum().unstack(fill_value=0)
            counts = counts.reindex(index=words, columns=words, fill_value=0)
            axes[axis] = [
                {"asked": asked, "shares": [share / max(sum(line), 1) for share in line]}
                for asked, line in zip(words, counts.to_numpy().tolist(), strict=True)
            ]
        found.append({"key": key, "label": row.label, "axes": axes})
    return found


def growth(frames: dict[str, pd.DataFrame], params: Params, albums: dict[str, Album]) -> dict:
    """The same samples of each row at every snapshot of its training, of the first seed, and their FID."""
    table = frames["convergence"]
    table = table[table.seed == params.seeds[0]].sort_values("images")
    marks = sorted(table.images.unique())
    rows = []
    for key, row in params.paradigms.items():
        own = table[table.paradigm == key]
        if row.role == "factor" or own.empty:
            continue
        cells = [{"fid": number(cell.fid), "failed": cell.status != "ok"} for cell in own.itertuples()]
        rows.append({"key": key, "label": row.label, "sprite": albums[key].growth, "cells": cells})
    return {"marks": [f"{mark:,} images" for mark in marks], "rows": rows}


KINDS = {
    "wrong": "Another digit than asked for: asked \u2192 seen, with the classifier's probability.",
    "unsure": "The least sure of the rest: the most likely digit and its probability.",
    "weight": "Another weight than asked for, the farthest from it first: asked \u2192 measured.",
    "slant": "Another slant than asked for, the farthest from it first: asked \u2192 measured.",
}


def failures(frames: dict[str, pd.DataFrame], params: Params, albums: dict[str, Album]) -> list[dict]:
    """The worst samples of the first seed at each paradigm's chosen guidance."""
    chosen = frames["paradigms"].set_index("paradigm").guidance
    table = frames["failures"][frames["failures"].seed == params.seeds[0]]
    found = []
    for key, row in params.paradigms.items():
        own = table[(table.paradigm == key) & (table.guidance == chosen.get(key))]
        kinds = []
        for kind, words in KINDS.items():
            items = []
            for item in own[own.kind == kind].itertuples():
                short, spoken = _said(item)
                spoken = f"{row.label}, {spoken}"
                items.append({"strip": item.strip, "place": item.place, "short": short, "words": spoken})
            if items:
                kinds.append({"words": words, "items": items})
            elif kind == "wrong" and row.conditional and len(own):
                kinds.append({"words": "No sample shows another digit than asked for.", "items": []})
        if not kinds:
            words = f"Nothing to show: the training or the cell of seed {params.seeds[0]} failed."
            kinds.append({"words": words, "items": []})
        found.append({"key": key, "label": row.label, "sprite": albums[key].failures, "kinds": kinds})
    return found


def _said(item) -> tuple[str, str]:
    """What is said of a failure under its picture, and aloud."""
    if item.kind in AXES:
        return (
            f"{item.asked_word} \u2192 {item.shown_word}",
            f"{item.asked}, asked to be {item.asked_word}, is {item.shown_word}",
        )
    sure = f"{100 * item.confidence:.0f}%"
    if item.kind == "wrong":
        return f"{item.asked} \u2192 {item.shown}, {sure}", f"asked for {item.asked}, seen as {item.shown} with {sure}"
    return f"{item.shown}, {sure}", f"seen as {item.shown} with {sure}"


def all_cells(frames: dict[str, pd.DataFrame]) -> list[dict]:
    """The rows of the table cells, each of the grid with the name by which Explore opens it."""
    names = ("paradigm", "sampler", "steps", "guidance")
    rows = frames["cells"].to_dict("records")
    return [row | {"id": "" if row["arm"] else cell_id(*(row[name] for name in names))} for row in rows]
