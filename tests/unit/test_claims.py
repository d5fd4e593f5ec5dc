"""Claims: the file is checked completely, and every verdict can be worked out by hand from the tables."""

import csv
import dataclasses
import json
import math
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st
from invented import invented, judges

from diffbench import cli, config, design, runs
from diffbench.claims import judge, measures
from diffbench.claims.judge import corrected
from diffbench.claims.load import Part, changes, load
from diffbench.claims.measures import Context, Untestable, measure
from diffbench.claims.verdicts import P
from diffbench.claims.verdicts import judge as verdict_of
from diffbench.errors import UserError
from diffbench.pipeline import manifest
from diffbench.report import finding, page
from diffbench.report.claims import bounds, criterion, effect_text
from diffbench.runtime.places import Places
from diffbench.tables import layout, schema, store
from diffbench.training import cost

T_95 = 2.919986  # 95% quantile of Student's t with two degrees of freedom, from a printed table
NEW = ("joint_error", "sharpness", "contrast", "topology", "detail", "halves")


def fabricated(params: config.Params, spoil=(), article=3.0) -> dict[str, pd.DataFrame]:
    """Tables of a run with noise of its own in every cell; ``spoil`` holds (row, seed) whose training failed."""
    generator = np.random.default_rng(3)
    rows = {name: [] for name in layout.made_by("aggregate")}
    bins = params.probe.bins
    for index, key in enumerate(params.paradigms):
        for seed in params.seeds:
            tag, bad = {"paradigm": key, "seed": seed}, (key, seed) in spoil
            status = {"status": "failed" if bad else "ok"}
            for cell in design.all_cells(params, key, seed):
                log_fid = 1 + 0.1 * index + 4 / cell.steps + 0.02 * generator.normal()
                log_fid += article * (cell.sampler == "ddim-article")
                near = 0.1 / (1 + cell.guidance)
                scores = {
                    "fid": math.exp(log_fid),
                    "recall": 0.95 - 0.03 * cell.guidance + 0.003 * generator.normal(),
                    **{f"{word}_error": near + 0.001 * generator.normal() for word in ("digit", "slant")},
                    "weight_error": 0.2,
                }
                rows["cells"].append(
                    tag | cell.key | status | {"nfe": cell.steps, "native": False} | ({} if bad else scores)
                )
                rows["cost"].append(tag | cell.key | {"stage": "sample", "seconds_per_1000": 0.1 * cell.steps})
            for images in (1000, 10_000, 100_000):
                fid = None if bad else 1e3 / images**0.5 * math.exp(0.1 * index + 0.02 * generator.normal())
                rows["convergence"].append(tag | status | {"images": images, "fid": fid})
            for k in range(bins):
                error = None if bad else math.exp(k / bins + 0.1 * index + 0.02 * generator.normal())
                edges = {"axis": "t", "low": k / bins, "high": (k + 1) / bins}
                rows["noise_error"].append(tag | edges | {"x0_error": error})
            length = None if bad else 1.2 + 0.01 * generator.normal()
            bent = None if bad else 0.03 + 0.01 * index + 0.0005 * generator.normal()
            own = {"path_over_chord": length, "velocity_deviation": bent}
            rows["straightness"].append(tag | own | {"exact_velocity_deviation": 0.02 + 0.0001 * seed})
            rows["cost"].append(tag | {"stage": "train", "sampler": "", "arm": "", "steps": 9, "seconds": 60.0 + seed})
        rows["paradigms"].append({"paradigm": key, "guidance": design.base_scales(params, key)[-1]})
    rows["floors"] = [{"split": "test", "fid": 0.5, "digit_error": 0.02, "recall": 0.97}]
    rows["judges"] = judges(rows)
    frames = {name: store.frame(name, own) for name, own in rows.items()}
    for name in NEW:  # columns of families that may come from outside
        noise = generator.normal(0.5, 0.02, len(frames["cells"]))
        frames["cells"][name] = np.where(frames["cells"].status == "ok", noise, np.nan)
        frames["floors"][name] = 0.4
    return frames


def judged(run: str, frames=None, claims=None) -> tuple[pd.DataFrame, pd.DataFrame]:
    params = runs.load(run)
    found = judge.judge_all(claims or load(), frames or fabricated(params), params)
    return found[0].set_index("number"), found[1].set_index(["number", "part"])


def write(folder, text: str):
    path = folder / "claims.yaml"
    path.write_text(text)
    return path


PART = {
    "name": "quality", "test": "difference", "measure": "cell", "metric": "fid", "direction": "lower",
    "scale": "ratio", "margin": 0.1, "rows": [["sd1", "dit"]], "steps": 20, "guidance": 1, "why": "a test",
}  # fmt: skip


def changed(**changes) -> dict:
    return {key: value for key, value in (PART | changes).items() if value is not None}


def claims_of(folder, *parts: dict, **more):
    body = {"number": 1, "title": "a claim", "quotes": ["its words"], "parts": list(parts)} | more
    return load(write(folder, yaml.safe_dump({"claims": {"one": body}})))


# The file


def test_the_shipped_claims_name_only_what_the_full_run_has(at_root):
    """Or what the preset has that a claim needs a run of its own for."""
    own = {7: "stability", 19: "scaling", 21: "patches", 22: "edm-levels"}
    assert [claim.number for claim in load()] == list(range(1, 26))
    for claim in load():
        rows = {*runs.load("mnist").paradigms, *runs.load(own.get(claim.number, "mnist")).paradigms}
        for part in claim.parts:
            assert {name for pair in part.rows for name in pair} <= rows, part.name
    claims, _ = judged("mnist")
    untestable = claims[claims.verdict == "not testable here"]
    assert list(untestable.index) == [7, 19, 20, 21], untestable.note.to_dict()
    assert untestable.note[7] == "the preset stability tests it"


@pytest.mark.parametrize(
    ("name", "numbers"), [("mnist-after", [22, 23, 24, 25]), ("patches", [21]), ("edm-levels", [22])]
)
def test_what_came_after_is_tested_in_presets_of_its_own(at_root, name, numbers):
    """Every part of those claims finds its rows and cells; what explains claim 22 has them in edm-levels alone."""
    _, parts = judged(name)
    own = parts[parts.index.get_level_values("number").isin(numbers)]
    own = own if name == "edm-levels" else own[own.explains == ""]
    assert not own.verdict.eq("not testable here").any(), own.note.to_dict()


def test_what_digits_cannot_test_is_named(at_root):
    claims, parts = judged("digits")
    untestable = claims[claims.verdict == "not testable here"]
    assert list(untestable.index) == [7, 19, 20, 21, 22, 23, 24, 25]
    assert claims.note[2] == "20 steps, because no cell ddpm: ddim, 50 steps, guidance 0"
    assert parts.compared[1, "quality"].startswith("ddpm, arm ddim-50, ddim, 50 steps"), "fifty steps in every preset"
    assert "this run has no unet-v" in claims.note[6]
    assert parts.compared[6, "low noise"] == "sd2, t from 0 to 0.1 against sd1, t from 0 to 0.1"
    assert parts.verdict[14, "weight, against DiT"] == "descriptive" and not parts.decides[14, "weight, against DiT"]
    assert "sd3 against unet-v" not in " ".join(parts.index.get_level_values("part"))
    assert "this run has no unet-v, dit-v, mmdit-eps, mmdit-v" in claims.note[16]


@pytest.mark.parametrize("name", ["digits", "mnist-small", "mnist"])
def test_what_a_factor_explains_is_tested_and_decides_nothing(at_root, name):
    claims, parts = judged(name)
    own = parts[(parts.explains != "") & (parts.index.get_level_values("number") < 22)]
    assert set(own.index.get_level_values("number")) == {10, 11, 12, 13} and not own.decides.any()
    assert not own.verdict.isin(["descriptive", "not testable here"]).any(), own.note.to_dict()
    without = [dataclasses.replace(claim, parts=tuple(p for p in claim.parts if not p.explains)) for claim in load()]
    again, _ = judged(name, claims=without)
    columns = ["verdict", "verdict_holm", "effect", "p_supported"]
    pd.testing.assert_frame_equal(claims[columns], again[columns])


def test_an_arm_may_be_named_by_the_steps(at_root):
    _, parts = judged("digits")
    frames = fabricated(runs.load("digits"))
    cells = frames["cells"][(frames["cells"].guidance == 1) & (frames["cells"].sampler == "ddim")]

    def spread(row, arms):
        own = cells[(cells.paradigm == row) & (cells.arm.isin(arms)) & cells.steps.isin([2, 8, 20])]
        logs = np.log(own.fid.astype(float)).groupby(own.seed)
        return logs.max() - logs.min()

    effect = spread("unet-eps", [""]) - spread("unet-eps-flow-levels", [f"flow-grid-{steps}" for steps in (2, 8, 20)])
    assert parts.effect[12, "noise levels and grid together"] == pytest.approx(effect.mean())


def test_what_each_doubling_of_compute_changes_is_a_slope(at_root):
    """FID falls as a power of the MACs, by seed: the U-Net's by 0.5, DiT's by 0.7 and 0.8, times noise of no size."""
    params = runs.load("scaling")
    frames = fabricated(params)
    macs = {key: cost.macs(row, 28) for key, row in params.paradigms.items()}
    frames["paradigms"]["macs"] = [macs[key] for key in frames["paradigms"].paradigm]
    powers = {("unet", 0): 0.5, ("unet", 1): 0.5, ("unet", 2): 0.5, ("dit", 0): 0.7, ("dit", 1): 0.8, ("dit", 2): 0.8}
    cells = frames["cells"]
    shared = {size: math.sqrt(macs[f"unet-{size}"] * macs[f"dit-{size}"]) for size in (5, 14, 26)}
    cells["fid"] = [
        1e5 * shared[int(row.paradigm.split("-")[1])] ** -powers[row.paradigm.split("-")[0], row.seed]
        for row in cells.itertuples()
    ]
    claims, parts = judged("scaling", frames)
    seeds = [entry["effect"] for entry in json.loads(parts.seeds[19, "more for each doubling"])]
    assert seeds == pytest.approx([0.2 * math.log(2), 0.3 * math.log(2), 0.3 * math.log(2)])
    assert claims.verdict[19] == "supported" and claims.verdict[11] == "not testable here"
    fewer = {name: frame[frame.paradigm != "dit-5"] if "paradigm" in frame else frame for name, frame in frames.items()}
    assert "2 pairs of rows, 3 of different sizes needed" in judged("scaling", fewer)[0].note[19]
    for size in (5, 14, 26):
        assert macs[f"dit-{size}"] == pytest.approx(macs[f"unet-{size}"], rel=0.1) == pytest.approx(size * 1e6, rel=0.1)


def test_one_seed_is_insufficient_for_every_claim(at_root):
    claims, _ = judged("smoke")
    assert set(claims.verdict[:18]) == {"insufficient seeds"} == set(claims.verdict_holm[:18])
    assert finding.tally(claims) == "claims: 25 insufficient seeds"


def test_every_mistake_of_a_claims_file_is_one_line(tmp_path):
    part = changed(test="guess", direction="down", margin=-1)
    path = write(tmp_path, yaml.safe_dump({
        "claim": {},
        "changes": [{"date": "soon", "what": "x"}],
        "claims": {
            "a": {"number": 1, "title": "x", "quotes": ["q"], "parts": [part]},
            "b": {"number": 1, "title": "x", "quotes": [], "parts": [changed(steps=[0], guidance="best", spam=1)]},
            "c": {"title": "x", "quotes": ["q"], "combine": "most", "colour": "red", "preset": "none"},
            "d": {"number": 3, "title": "x", "quotes": ["q"], "untested": "no", "parts": [changed(rows=[["sd1"]])]},
            "e": {"number": 4, "title": "x", "quotes": ["q"], "parts": [
                changed(metric=None, why=None, explains="x"), 7,
            ]},
            "f": {"number": 5, "title": "x", "quotes": ["q"], "parts": [
                changed(left={"steps": [1, 2]}, against="real", margin="much"),
                changed(name="area", measure="area", steps=None, guidance=None, scale="difference", margin=-0.1),
                changed(name="area", steps=None, scale=None),
                changed(name="arms", arm="article-{step}", left={"arm": "{"}, use="width", against=0, rows=[["sd1"]]),
            ]},
        },
    }))  # fmt: skip
    with pytest.raises(UserError) as error:
        load(path)
    lines = [line.removeprefix(f"{path}: ") for line in str(error.value).splitlines()]
    expected = [
        "claim: unknown key", "changes[0]: {'date': 'soon'",
        "claims.a.parts[0].test: 'guess'; allowed:", "claims.a.parts[0].direction: 'down'",
        "claims.b.parts[0].spam: unknown key", "claims.b.parts[0].steps: [0]", "claims.b.parts[0].guidance: 'best'",
        "claims.b.quotes: []", "claims.c.colour: unknown key", "claims.c.number: missing", "claims.c.combine: 'most'",
        "claims.c.preset: 'none'; allowed: mnist, composition,",
        "claims.c: needs either parts or untested", "claims.d: needs either parts or untested",
        "claims.d.parts[0].rows: [['sd1']]", "claims.e.parts[0].metric: missing", "claims.e.parts[0].why: missing",
        "claims.e.parts[0].explains: 'x'; allowed: noise",
        "claims.e.parts[1]: 7; allowed: a mapping", "claims.f.parts[0].left.steps: [1, 2]",
        "claims.f.parts[0].margin: 'much'", "claims.f.parts[0].rows", "claims.f.parts[1].scale: 'difference'",
        "claims.f.parts[1].margin: -0.1", "claims.f.parts[2].steps: missing", "claims.f.parts[2].scale: missing",
        "claims.f.parts[3].arm: 'article-{step}'", "claims.f.parts[3].left.arm: '{'",
        "claims.f.parts[3].against: 0; the width", "claims.f.parts: two are named area",
        "claims: number 1 is given twice",
    ]  # fmt: skip
    for words in expected:
        assert sum(line.startswith(words) for line in lines) == 1, (words, lines)
    assert len(lines) == len(expected), [line for line in lines if not any(map(line.startswith, expected))]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("claims: 7", "claims: missing; allowed: a mapping"),
        ("claims: [", "claims.yaml:2"),
        ("- 1", "holds list, expected a mapping"),
        ("claims: {a: 7}", "claims.a: 7; allowed: a mapping"),
        ("claims: {a: {number: 1, title: x, quotes: [q], parts: 7}}", "claims.a.parts: 7; allowed: a list"),
    ],
)
def test_what_is_no_claims_file_is_one_line(tmp_path, text, said):
    with pytest.raises(UserError, match=re.escape(said)) as error:
        load(write(tmp_path, text))
    assert len(str(error.value).splitlines()) == 1


# By hand


def cells_by_hand(tmp_path, frames) -> list[dict]:
    """The rows of cells.csv as a spreadsheet has them."""
    declared = [column.name for column in schema.TABLES["cells"].columns]
    store.write_frames(tmp_path, {"cells": frames["cells"][declared]})
    with (tmp_path / "cells.csv").open() as handle:
        return list(csv.DictReader(handle))


def look_up(rows, seed, metric, **key) -> float:
    found = [row for row in rows if row["seed"] == str(seed) and all(row[name] == v for name, v in key.items())]
    assert len(found) == 1, (key, len(found))
    return float(found[0][metric])


def by_hand(effects: list[float]) -> tuple[float, float, float]:
    mean = sum(effects) / 3
    sd = math.sqrt(sum((effect - mean) ** 2 for effect in effects) / 2)
    half = T_95 * sd / math.sqrt(3)
    return mean, mean - half, mean + half


def check(row, effects, verdict):
    assert (row.effect, row.low, row.high) == pytest.approx(by_hand(effects), rel=1e-5)
    assert row.verdict == verdict


def test_three_claims_recomputed_by_hand(at_root, tmp_path):
    frames = fabricated(runs.load("mnist"))
    claims, parts = judged("mnist", frames)
    rows = cells_by_hand(tmp_path, frames)
    own = {"arm": "", "paradigm": "ddpm", "guidance": "0.0"}
    effects = []
    for seed in range(3):
        few = look_up(rows, seed, "fid", sampler="ddim", steps="50", **(own | {"arm": "ddim-50"}))
        many = look_up(rows, seed, "fid", sampler="ancestral", steps="1000", **own)
        effects.append(math.log(many / few))
    mean, low, high = by_hand(effects)
    expected = "supported" if low > -math.log(1.1) else "contradicted" if high < -math.log(1.1) else "inconclusive"
    check(claims.loc[1], effects, expected)
    assert claims.margin[1] == pytest.approx(math.log(1.1))
    assert [entry["effect"] for entry in json.loads(parts.seeds[1, "quality"])] == pytest.approx(effects)

    own = {"arm": "", "paradigm": "sd1", "sampler": "ddim", "steps": "20"}
    effects = []
    for seed in range(3):
        plain = look_up(rows, seed, "digit_error", guidance="1.0", **own)
        guided = look_up(rows, seed, "digit_error", guidance="7.5", **own)
        effects.append(plain - guided)
    mean, low, high = by_hand(effects)
    check(parts.loc[3, "less control at 1.0"], effects, "supported" if low > 0.005 else "inconclusive")

    pairs = (("unet-velocity", "unet-eps"), ("dit-velocity", "dit"), ("sd3", "mmdit-eps"))
    effects = []
    for seed in range(3):
        logs = []
        for left, right in pairs:
            at = {"steps": "8", "guidance": "2.0", "arm": ""}  # 2 is the scale chosen in these tables
            flow = look_up(rows, seed, "fid", paradigm=left, sampler="euler", **at)
            eps = look_up(rows, seed, "fid", paradigm=right, sampler="ddim", **at)
            logs.append(math.log(eps) - math.log(flow))
        effects.append(sum(logs) / 3)
    mean, low, high = by_hand(effects)
    expected = "contradicted" if high < 0 and mean < -math.log(1.1) else "equivalent" if low > -math.log(1.1) else ""
    check(claims.loc[11], effects, expected or "inconclusive")


# Measures


def context_of(frames, **samplers) -> Context:
    return Context(frames, samplers or {"a": "ddim", "b": "ddim"})


def part(**changes) -> Part:
    base = {"name": "p", "test": "difference", "metric": "fid", "direction": "lower", "scale": "ratio", "why": ""}
    return Part(**(base | {"measure": "cell", "rows": (("a", "b"),)} | changes))


def small(rows: dict[str, list[dict]]) -> dict[str, pd.DataFrame]:
    names = [{"paradigm": name, "guidance": 1.0} for name in ("a", "b")]
    return {name: store.frame(name, rows.get(name, [])) for name in measures.READS if name != "paradigms"} | {
        "paradigms": store.frame("paradigms", names)
    }


def test_areas_noise_spreads_slopes_and_ranks_of_round_numbers():
    grown = [
        {"paradigm": "a", "seed": 0, "images": images, "status": "ok", "fid": fid}
        for images, fid in ((10, 100.0), (100, 10.0), (1000, 10.0))
    ]
    errors = [
        {"paradigm": "a", "seed": 0, "axis": "t", "low": k / 4, "high": (k + 1) / 4, "x0_error": math.exp(k)}
        for k in range(4)
    ]
    cells = [
        {"paradigm": "a", "seed": 0, "sampler": "ddim", "steps": steps, "guidance": 1.0, "arm": "", "status": "ok",
         "nfe": steps, "fid": 64.0 / steps}
        for steps in (2, 4, 8)
    ] + [
        {"paradigm": "a", "seed": 0, "sampler": "ddim", "steps": 20, "guidance": scale, "arm": "", "status": "ok",
         "nfe": 20, "fid": fid, "recall": 0.5}
        for scale, fid in ((0.0, 99.0), (1.0, 1.0), (2.0, 3.0), (4.0, 2.0))
    ]  # fmt: skip
    context = context_of(small({"convergence": grown, "noise_error": errors, "cells": cells}))
    assert measures.area(context, "a", "fid", {})[0] == pytest.approx((1.5 * math.log(10) + math.log(10)) / 2)
    levels = {"axis": "t", "low": 0.5, "high": 1.0}
    assert measures.noise(context, "a", "x0_error", levels)[0] == pytest.approx(2.5)
    over = {"over": [2, 4, 8], "guidance": "chosen"}
    assert measures.spread(context, "a", "fid", over)[0] == pytest.approx(math.log(4))
    assert measures.slope(context, "a", "fid", over)[0] == pytest.approx(-1)
    # 1, 3 and 2 at one doubling each; scale 0 answers no prompt
    assert measures.trend(context, "a", "fid", {"steps": 20})[0] == pytest.approx(0.5)
    assert measures.trend(context, "a", "recall", {"steps": 20})[0] == 0, "what does not change has no trend"
    assert measures.monotone(context, "a", "fid", {"steps": 20})[0] == pytest.approx(2), "from 1 to 3, then it falls"
    assert measures.monotone(context, "a", "recall", {"steps": 20})[0] == 0
    with pytest.raises(Untestable, match="no bin of t"):
        measures.noise(context, "a", "x0_error", {"axis": "t", "low": 0.9, "high": 1.0})
    with pytest.raises(Untestable, match="1 guidance scales of a at 8 steps"):
        measures.trend(context, "a", "fid", {"steps": 8})
    with pytest.raises(Untestable, match="no column sheen"):
        measures.cell(context, "a", "sheen", {"steps": 8, "guidance": 1})


def cell(row, seed, **scores):
    own = {"sampler": "ddim", "steps": 8, "guidance": 1.0, "arm": "", "status": "ok", "nfe": 8}
    return {"paradigm": row, "seed": seed} | own | scores


def test_distance_to_real_images_counts_either_side():
    cells = [cell("a", 0, brightness=0.45), cell("b", 0, brightness=0.60)]
    frames = small({"cells": cells, "floors": [{"split": "test", "brightness": 0.5}]})
    where = {"steps": 8, "guidance": "chosen", "from_real": True}
    found = measure(context_of(frames), part(metric="brightness", scale="difference", where=where))
    assert found.effects[0] == pytest.approx(0.2 - 0.1)
    against = part(metric="brightness", scale="difference", rows=(("a",),), where=where | {"from_real": False})
    found = measure(context_of(frames), Part(**(vars(against) | {"against": "real"})))
    assert found.effects[0] == pytest.approx(0.05) and found.compared.endswith("against real test images")


def test_straightness_over_the_exact_flows_is_that_of_each_row():
    """Twice the exact flow's departure against one and a half times it, though the second departs more by itself."""
    rows = [
        {"paradigm": key, "seed": 0, "velocity_deviation": own, "exact_velocity_deviation": exact}
        for key, own, exact in (("a", 0.03, 0.015), ("b", 0.06, 0.04))
    ]
    frames = small({"straightness": rows})
    asked = {"measure": "straightness", "metric": "velocity_deviation", "direction": "lower"}
    found = measure(context_of(frames), part(**asked, where={"over_exact": True}))
    assert found.effects[0] == pytest.approx(math.log(1.5 / 2))
    assert measure(context_of(frames), part(**asked, where={})).effects[0] == pytest.approx(math.log(0.06 / 0.03))


def test_seconds_are_read_from_the_table_cost():
    rows = [
        {"paradigm": name, "seed": 0, "stage": "sample", "sampler": "ddim", "steps": 8, "guidance": 1.0, "arm": "",
         "seconds_per_1000": seconds}
        for name, seconds in (("a", 1.0), ("b", 4.0))
    ]  # fmt: skip
    rows += [{**row, "stage": "train", "sampler": "", "guidance": None, "seconds": 60.0} for row in rows]
    where = {"stage": "sample", "steps": 8, "guidance": 1}
    found = measure(context_of(small({"cost": rows})), part(measure="cost", metric="seconds_per_1000", where=where))
    assert found.effects[0] == pytest.approx(math.log(4))
    trained = part(measure="cost", metric="seconds", where={"stage": "train"})
    assert measure(context_of(small({"cost": rows})), trained).effects[0] == 0


def test_a_failed_seed_drops_out_and_two_leave_too_few(at_root):
    params = runs.load("mnist")
    whole, _ = judged("mnist")
    claims, parts = judged("mnist", fabricated(params, spoil={("sd1", 1)}))
    assert claims.n[4] == 2 and claims.note[4] == "1 of 3 seeds failed or have no value"
    assert [entry["effect"] is None for entry in json.loads(parts.seeds[4, "variety falls"])] == [False, True, False]
    assert claims.n[1] == 3 == whole.n[4]
    claims, _ = judged("mnist", fabricated(params, spoil={("sd1", 1), ("sd1", 2)}))
    assert claims.verdict[4] == "insufficient seeds" == claims.verdict_holm[4] and pd.isna(claims.effect[4])


def test_a_mean_over_pairs_has_only_seeds_with_every_pair(at_root):
    claims, parts = judged("mnist", fabricated(runs.load("mnist"), spoil={("dit", 1)}))
    assert claims.n[8] == 2
    seed = json.loads(parts.seeds[8, "strokes"])[1]
    assert seed["effect"] is None and [value is None for value in seed["left"]] == [True, False, False]


def test_a_missing_column_is_a_reason_and_not_a_crash(at_root):
    frames = fabricated(runs.load("mnist"))
    frames["cells"] = frames["cells"].drop(columns="topology")
    claims, _ = judged("mnist", frames)
    assert claims.verdict[8] == "not testable here"
    assert claims.note[8] == "no column topology in the table cells (strokes)"


def test_a_claim_with_a_refuted_part_is_contradicted_though_another_cannot_be_tested(at_root, tmp_path):
    params = runs.load("mnist")
    bad, missing = changed(rows=[["dit", "sd1"]]), changed(name="sheen", metric="sheen")
    claims, _ = judged("mnist", fabricated(params), claims_of(tmp_path, bad, missing))
    assert claims.verdict[1] == "contradicted" and claims.part[1] == "quality"
    claims, _ = judged("mnist", fabricated(params), claims_of(tmp_path, changed(), missing))
    assert claims.verdict[1] == "partly supported" and "sheen" in claims.note[1]
    claims, _ = judged("mnist", fabricated(params), claims_of(tmp_path, changed(), missing, combine="any"))
    assert claims.verdict[1] == "supported"


def test_the_articles_update_is_contradicted_only_if_all_readings_fail(at_root):
    params = runs.load("mnist")
    assert judged("mnist", fabricated(params, article=3.0))[0].verdict[18] == "contradicted"
    frames = fabricated(params, article=3.0)
    cells = frames["cells"]
    one = (cells.arm == "article-beta").to_numpy()
    cells.loc[one, "fid"] = cells.loc[one, "fid"] / math.exp(3)
    assert judged("mnist", frames)[0].verdict[18] == "supported"


def test_holm_can_only_take_a_verdict_away(at_root):
    claims, _ = judged("mnist")
    changed_ = claims[claims.verdict != claims.verdict_holm]
    assert set(changed_.verdict_holm) <= {"inconclusive"} and len(changed_) > 0


@given(st.lists(st.tuples(*[st.sampled_from([0.0, 0.001, 0.01, 0.04, 0.3, 1.0])] * 4), min_size=1, max_size=20))
def test_holm_leaves_a_verdict_or_a_weaker_one_of_its_kind(values):
    """Also where the p-values of several verdicts are small at once, as those of a claim with good and bad parts."""
    names = ("supported", "contradicted", "equivalent", "partly")
    rows = [
        {"number": i, "verdict": P(*ps).verdict()} | {f"p_{name}": p for name, p in zip(names, ps, strict=True)}
        for i, ps in enumerate(values)
    ]
    weaker = {"supported": {"partly supported"}}
    for before, after in zip(rows, corrected(rows), strict=True):
        allowed = {before["verdict"], "inconclusive", *weaker.get(before["verdict"], ())}
        assert after["verdict_holm"] in allowed


# The stage and the page


@pytest.fixture
def three_seeds(workplace):
    """Smoke params with three seeds, the claims beside them and the tables written."""
    shutil.copy(ROOT / "workflow/claims.yaml", workplace / "workflow/claims.yaml")
    path = workplace / "workflow/presets/smoke.yaml"
    raw = yaml.safe_load(path.read_text())
    raw["seeds"] = [0, 1, 2]
    path.write_text(yaml.safe_dump(raw))
    params = runs.load("smoke")
    frames = invented(params)
    own = {name: frames[name] for name in layout.made_by("aggregate")}
    store.write(Places("smoke").tables, own)
    return params, frames


def test_the_stage_writes_its_tables_and_the_terminal_counts_them(three_seeds, capsys):
    assert cli.main(["claims", "smoke"]) == 0
    folder = Places("smoke").tables
    made = {path.name for path in layout.files(folder, "claims")}
    assert made == {
        f"{name}.{kind}" for name in ("claims", "claim_parts", "claim_changes") for kind in ("parquet", "csv")
    }
    listed = store.read(folder, "claim_changes")
    assert list(listed.date) == sorted(listed.date) and len(listed) == len(changes()) > 4
    first = (folder / "claim_parts.csv").read_bytes()
    assert cli.main(["claims", "smoke"]) == 0 and (folder / "claim_parts.csv").read_bytes() == first
    assert len(store.read(folder, "claims")) == 25
    described = json.loads((folder / "datapackage.json").read_text())["resources"]
    assert {"claims", "claim_parts"} <= {resource["name"] for resource in described}
    assert cli.main(["finding", "smoke"]) == 0
    counted = r"^claims: .*not testable here; corrected for their number \(Holm\): .*$"
    assert re.search(counted, capsys.readouterr().out, re.MULTILINE)


def test_the_manifest_notices_other_claims(three_seeds, monkeypatch, workplace):
    params, _ = three_seeds
    monkeypatch.setattr(manifest, "outputs", lambda _: [])
    monkeypatch.setattr(manifest, "stale", lambda _: ([], []))
    manifest.write(params)
    assert manifest.differences(params) == []
    path = workplace / "workflow/claims.yaml"
    path.write_text(path.read_text().replace("margin: 0.10", "margin: 0.50"))
    assert manifest.differences(params) == ["workflow/claims.yaml: changed since the run"]


def test_a_malformed_claims_file_ends_the_stage_in_one_line_each(three_seeds, capsys, workplace):
    write(workplace / "workflow", yaml.safe_dump({"claims": {"a": {"number": 0, "title": "x", "quotes": ["q"]}}}))
    assert cli.main(["claims", "smoke"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and all(line.startswith("error: workflow/claims.yaml: claims.a") for line in lines)


def test_the_page_shows_every_verdict_second_and_quotes_as_text(three_seeds):
    params, frames = three_seeds
    nasty = '<script>alert(1)</script> & "quoted"'
    claims = [*load()]
    claims[0] = judge.replace(claims[0], quotes=(nasty,), title="<b>bold</b>")
    found = judge.judge_all(claims, frames, params)
    html = page.render(frames | dict(zip(("claims", "claim_parts"), found, strict=True)), params)
    assert nasty not in html and "&lt;script&gt;alert(1)&lt;/script&gt; &amp;" in html and "<b>bold" not in html
    assert html.index('id="summary"') < html.index('id="claims"') < html.index('id="samples"')
    text = html[html.index('<section id="claims"') : html.index('<section id="samples"')]
    assert text.count('<details class="claim"') == 25
    verdicts = set(found[0].verdict)
    assert len(verdicts) > 1 and all(f"</span> {verdict}</span>" in text for verdict in verdicts)
    drawn = found[1][found[1].effect.notna()]
    assert len(drawn) > 3 and np.isfinite(drawn.effect).all()
    for row in drawn.to_dict("records"):
        seeds = [f"{one['seed']}: {effect_text(one['effect'], row['unit'])}" for one in json.loads(row["seeds"])]
        assert (
            f"Seeds {', '.join(seeds)}." in text and f"by seed {', '.join(one.split(': ')[1] for one in seeds)}" in text
        )
    counts = text.split("each alone, at 5%</th>")[1].split("</tr>")[0]
    counts = [int(count) for count in re.findall(r"<td>(\d+)</td>", counts)]
    assert sorted(filter(None, counts)) == sorted(finding.of_article(found[0]).verdict.value_counts())


def test_how_many_octaves_of_learning_rate_are_near_the_best(at_root):
    """Eight rates a factor 2 apart: each stands for an octave; a failed training stands for none."""
    params = runs.load("stability")
    frames = fabricated(params)
    near = {"v": {1, 2, 4, 8, 16}, "eps": {4, 8}}
    cells, rows = frames["cells"], frames["paradigms"]
    target, rate = cells.paradigm.str.split("-").str[0], cells.paradigm.str.split("-").str[1].astype(int)
    good = [r in near[t] for t, r in zip(target, rate, strict=True)]
    fid = np.where(good, 10.0, 20.0) * np.where(target == "eps", 3.0, 1.0)
    frames["cells"] = cells.assign(fid=fid)
    frames["paradigms"] = rows.assign(lr=[0.0005 * int(name.split("-")[1]) for name in rows.paradigm])
    frames["judges"] = frames["judges"].iloc[:0]
    claims, parts = judged("stability", frames)
    assert claims.effect[7] == pytest.approx(5 - 2) and claims.verdict[7] == "supported"
    assert parts.unit[7, "range of learning rates"] == "difference" and claims.margin[7] == 0.5
    worst = (frames["cells"].paradigm == "v-4") & (frames["cells"].seed == 1)
    frames["cells"].loc[worst, ["fid", "status"]] = [np.nan, "failed"]
    seeds = json.loads(judged("stability", frames)[1].seeds[7, "range of learning rates"])
    assert [seed["effect"] for seed in seeds] == pytest.approx([3, 2, 3])


def test_a_verdict_that_another_classifier_turns_is_fragile(at_root, tmp_path):
    """Each judge scores real and generated images by itself; what it scores alike leaves the verdict alone."""
    params = runs.load("mnist")
    frames, claims = fabricated(params), claims_of(tmp_path, changed())
    plain, parts = judged("mnist", frames, claims)
    assert plain.verdict[1] == "supported" and not plain.fragile[1] and not parts.fragile.any()
    assert json.loads(plain.verdict_others[1]) == ["supported"] * 2
    assert json.loads(plain.effect_others[1]) == pytest.approx([plain.effect[1]] * 2), "a factor for both sides"
    other = frames["judges"]
    turned = (other.of == "cells") & (other.judge == 2) & (other.paradigm == "sd1")
    frames["judges"] = other.assign(fid=other.fid.where(~turned, 10 * other.fid))
    found, parts = judged("mnist", frames, claims)
    assert found.verdict[1] == "supported" and found.fragile[1] and parts.fragile[1, "quality"]
    assert json.loads(found.verdict_others[1]) == ["supported", "contradicted"]
    real = claims_of(tmp_path, changed(rows=[["sd1"]], against="real", test="noninferior", margin=1000.0))
    seen = measures.as_seen_by(2, frames)
    assert seen["floors"].fid[0] == pytest.approx(0.5 * 1.02), "real images by the same judge"
    assert judged("mnist", frames, real)[0].effect_others[1] != "[null, null]"


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(math.log(1.5), "log ratio", "\u00d71.50"), (0.0123, "difference", "+0.0123"), (-0.5, "difference", "-0.500"),
     (0.0, "difference", "0"), (float("nan"), "difference", "\u2013")],
)  # fmt: skip
def test_effects_are_factors_or_signed_differences(value, unit, text):
    from diffbench.report.claims import effect_text

    assert effect_text(value, unit) == text


@pytest.mark.parametrize(
    ("test", "unit", "said"),
    [
        ("difference", "log ratio", "above \u00d71.10"),
        ("noninferior", "log ratio", "above \u00d70.909, no worse"),
        ("equivalent", "difference", "-0.0953 to +0.0953"),
        ("descriptive", "difference", ""),
    ],
)
def test_a_claim_says_what_would_support_it(test, unit, said):
    """And by the test itself: an interval just beyond it is supported, one around it is not."""
    margin = math.log(1.1)
    assert criterion(test, margin, unit) == said and criterion(test, math.nan, unit) == ""
    if said and test != "equivalent":
        limit = bounds(test, margin)[-1]
        assert verdict_of(test, [limit + 0.010, limit + 0.011, limit + 0.012], margin).verdict == "supported"
        assert verdict_of(test, [limit - 0.010, limit, limit + 0.010], margin).verdict != "supported"
