"""The aggregate stage: all scores into versioned tables, and the figures and curves that DVC shows."""

import math

import pandas as pd

from diffbench import design
from diffbench.config.models import Params
from diffbench.design import ARMS, Cell
from diffbench.runtime.files import read_json, write_json
from diffbench.runtime.places import Places
from diffbench.tables import layout, provenance, schema, store
from diffbench.tables.factors import effects
from diffbench.tables.intervals import interval
from diffbench.tables.overview import curves, headline, own_cells

COPIES = 0.05  # share of copies from which on, proved over seeds, a row is not ranked


def chosen_guidance(selection: pd.DataFrame, paradigm: str) -> float | None:
    """The scale with the lowest mean FID on the validation split over seeds and samplers."""
    own = selection[(selection.paradigm == paradigm) & selection.fid.notna()]
    means = own.groupby("guidance").fid.mean()
    return None if means.empty else float(means.idxmin())


def summary(cells: pd.DataFrame, paradigm: str, sampler: str, guidance: float | None, target: float) -> dict:
    """The best cell of a paradigm at its chosen scale, and the best of few evaluations.

    One rule for every row: of its own sampler's step counts, and its paper's own cell, the one with the lowest mean
    over seeds of FID against the validation split. What is reported is FID against the training split, which chose
    nothing.

    Args:
        sampler: the row's own, which is its first.
        guidance: that scale; None where no selection images gave one, so that there is nothing to sum up.
        target: the FID whose fewest evaluations are asked for.
    """
    own = own_cells(cells, paradigm, sampler, guidance)
    if own.empty:
        return {}
    means = own.groupby(["sampler", "steps", "nfe"], as_index=False)[["fid_held_out", "fid"]].mean()
    means = means.sort_values(["fid_held_out", "fid", "nfe"])
    best = means.iloc[0]

    def seeds(cell: pd.Series) -> pd.DataFrame:
        return own[(own.sampler == cell.sampler) & (own.steps == cell.steps)]

    rows = seeds(best)
    low, high = interval(rows.fid.to_numpy())
    copied, _ = interval(rows.copied.to_numpy())
    result = {
        "best_sampler": best.sampler,
        "best_steps": int(best.steps),
        "best_nfe": int(best.nfe),
        "best_fid": float(best.fid),
        "best_fid_low": low,
        "best_fid_high": high,
        "best_pca_fid": rows.pca_fid.mean(),
        "best_fid_infinity": rows.fid_infinity.mean(),
        "best_fid_held_out": rows.fid_held_out.mean(),
        "best_copied": rows.copied.mean(),
        "best_copied_low": copied,
        "copies": bool(copied > COPIES),
        **{name: rows[name].mean() for name in ("precision", "recall", "digit_error", "joint_error")},
    }
    reached = means[means.fid <= target]
    result |= {"target_fid": target, "target_nfe": None if reached.empty else int(reached.nfe.min())}
    few = means[means.nfe <= schema.FEW_NFE]
    if few.empty:
        return result
    cell = few.iloc[0]
    low, high = interval(seeds(cell).fid.to_numpy())
    return result | {
        "few_sampler": cell.sampler,
        "few_steps": int(cell.steps),
        "few_nfe": int(cell.nfe),
        "few_fid": float(cell.fid),
        "few_fid_low": low,
        "few_fid_high": high,
    }


def ranked(paradigms: pd.DataFrame) -> pd.DataFrame:
    """The table ``paradigms`` with each row's place by FID and by PCA-FID; a place is robust where the two agree.

    Conditional and unconditional rows answer different questions, so either kind is ranked among itself. A row that
    copies training images has no place, and neither has one that is there for a single factor.
    """
    rivals = paradigms[paradigms.role.ne("factor").fillna(True) & ~paradigms.copies.fillna(False).astype(bool)]
    kinds = rivals.groupby("conditional")
    places = {
        f"rank_{score}": kinds[f"best_{score}"].rank(method="min").astype("Int64") for score in ("fid", "pca_fid")
    }
    return paradigms.assign(**places, rank_robust=places["rank_fid"] == places["rank_pca_fid"])


def arm_row(paradigm: str, cell: Cell, precision: str) -> dict:
    """A row of the table ``arms``; the precision is the run's."""
    low, high = cell.interval or (None, None)
    options = ("eta", "variance", "reading", "spacing", "path", "rescale", "negative")
    own = {name: getattr(cell, name) for name in options}
    return {"paradigm": paradigm, **cell.key, **own, "interval_low": low, "interval_high": high,
            "precision": cell.precision or precision}  # fmt: skip


def opinions(table: str, key: dict, rows: list[dict]) -> list[dict]:
    """The judges' rows of the scored rows of a table, from which they are taken out."""
    names = schema.JUDGED_KEYS[table]
    return [
        {"of": table} | {name: (key | row)[name] for name in names} | one for row in rows for one in row.pop("judges")
    ]


def thresholds(rows: list[dict], floor: float, within: list[float], budget: int) -> list[dict]:
    """When the FID of each multiple of the floor was first reached; censored where it never was.

    Args:
        rows: of one training, with ``images`` and ``fid``, in rising order of images.
        floor: FID of the real test images.
        within: the multiples.
        budget: images of the whole training.
    """
    result = []
    for multiple in within:
        fid = multiple * floor
        reached = [row["images"] for row in rows if row["fid"] is not None and row["fid"] <= fid]
        images = reached[0] if reached else None
        result.append(
            {"within": float(multiple), "fid": fid, "images": images, "censored": not reached, "budget": budget}
        )
    return result


def run(params: Params) -> None:
    """Write the tables of a run, its metrics.json and headline.json, and the curves in plots/.

    Raises:
        UserError: an input is missing or damaged.
    """
    places = Places(params.name)
    rows: dict[str, list[dict]] = {name: [] for name in layout.made_by("aggregate")}
    devices, histories = set(), {}
    floors, judge, data = read_json(places.floors), read_json(places.classifier_facts), read_json(places.data_facts)
    rows["floors"] = floors["floors"]
    rows["judges"] = opinions("floors", {}, [{"judges": floors["judges"]}])
    floor = next(row["fid"] for row in rows["floors"] if row["split"] == "test")
    for paradigm in params.paradigms:
        for seed in params.seeds:
            key = {"paradigm": paradigm, "seed": seed}
            history = read_json(places.train(paradigm, seed) / "history.json")
            trained = read_json(places.train(paradigm, seed) / "cost.json")
            devices.add(trained["device"])
            histories[paradigm, seed] = history
            rows["training"] += [key | point | {"status": history["status"]} for point in history["curve"]]
            per_thousand = 1000 * trained["seconds"] / history["images"]
            seconds = {name: trained[name] for name in ("seconds", "peak_memory_bytes")}
            whole = {"sampler": "", "steps": history["steps"], "guidance": math.nan, "arm": ""}
            rows["cost"].append(key | whole | seconds | {"stage": "train", "seconds_per_1000": per_thousand})
            scores = read_json(places.evaluation(paradigm, seed))
            rows["judges"] += opinions("cells", key, scores["cells"])
            rows["cells"] += [key | row for row in scores["cells"]]
            for name in ("selection", "confusion", "word_confusion", "failures"):
                rows[name] += [key | row for row in scores[name]]
            if scores["prompts"] and not rows["prompts"]:
                rows["prompts"] = [{"place": i, "prompt": text} for i, text in enumerate(scores["prompts"])]
            clock = read_json(places.clock(paradigm, seed))
            rows["cost"] += [key | {"stage": "sample"} | cell for cell in clock]
            snapshots = read_json(places.convergence(paradigm, seed))
            rows["judges"] += opinions("convergence", key, snapshots)
            rows["convergence"] += [key | row for row in snapshots]
            reached = thresholds(snapshots, floor, params.convergence.within, history["images"])
            rows["thresholds"] += [key | row for row in reached]
            rows["cost"] += [
                key | whole | {"stage": "threshold", "within": row["within"]}
                | {"seconds": None if row["censored"] else per_thousand * row["images"] / 1000}
                for row in reached
            ]  # fmt: skip
            probed = read_json(places.probe(paradigm, seed))
            rows["noise_error"] += [key | row for row in probed["noise_error"]]
            rows["straightness"].append(key | probed["straightness"])
    rows["arms"] = [
        arm_row(paradigm, cell, params.compute.precision)
        for paradigm in params.sampling.arms
        for cell in design.cells(params, paradigm, params.seeds[0], ARMS)
    ]
    cells, selection = store.frame("cells", rows["cells"]), store.frame("selection", rows["selection"])
    for key, paradigm in params.paradigms.items():
        guidance = chosen_guidance(selection, key) if paradigm.conditional else 0.0
        done = [histories[key, seed] for seed in params.seeds]
        rows["paradigms"].append(
            {
                name: getattr(paradigm, name)
                for name in ("label", "role", "network", "path", "target", "times", "conditional", "lr")
            }
            | {
                "paradigm": key,
                "parameters": done[0]["parameters"],
                "macs": done[0]["macs"],
                "seeds_ok": sum(history["status"] == "ok" for history in done),
                "guidance": guidance,
            }
            | summary(cells, key, paradigm.samplers[0], guidance, min(params.convergence.within) * floor)
        )
    facts = provenance.circumstances() | {
        "run": params.name,
        "params sha256": provenance.params_hash({key: value for key, value in params.raw.items() if key != "tune"}),
        "data": data["source"],
        "data sha256": data["sha256"],
        "classifier sha256": judge["sha256"],
        "classifier test accuracy": f"{judge['test_accuracy']:.4f}",
        "classifier validation accuracy": f"{judge['validation_accuracy']:.4f}",
        "device": ", ".join(sorted(devices)),
        "precision": params.compute.precision,
        "seeds": ", ".join(map(str, params.seeds)),
        "table schema": schema.VERSION,
    }
    rows["effects"] = effects(cells, store.frame("arms", rows["arms"]), store.frame("paradigms", rows["paradigms"]))
    rows["provenance"] = [{"key": key, "value": value} for key, value in facts.items()]
    frames = {name: store.frame(name, own) for name, own in rows.items()}
    frames["paradigms"] = ranked(frames["paradigms"])
    store.write(places.tables, frames)
    write_json(places.metrics, metrics(frames))
    write_json(places.headline, headline(frames))
    for name, curve in curves(params, frames).items():
        store.write_csv(places.plots / f"{name}.csv", curve)


def metrics(frames: dict[str, pd.DataFrame]) -> dict:
    """The figures of every row's best cell, for programs to read."""
    scores = ("precision", "recall", "digit_error", "joint_error")
    names = ("guidance", "best_fid", "best_pca_fid", "best_nfe", "few_fid", *scores)
    result: dict = {"floor": {"fid": float(store.real_test_row(frames["floors"]).fid)}}
    for row in frames["paradigms"].to_dict("records"):
        result[row["paradigm"]] = {name: None if pd.isna(row[name]) else row[name] for name in names}
    return result
