"""Comparing runs: few false alarms, real differences found, nothing dropped in silence."""

import math
import re
import subprocess

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from conftest import ROOT
from scipy.stats import false_discovery_control, ttest_ind

from diffbench import cli, compare
from diffbench.claims.verdicts import judge
from diffbench.compare.cells import CELLS, compare_cells, two_sample
from diffbench.compare.claims import opposed
from diffbench.compare.locate import reference_of
from diffbench.tables import schema, store

ROWS = ("ddpm", "sd1", "sd2", "dit", "sd3", "unet-eps")
WAYS = [("ddim", steps, scale) for steps in (2, 8, 20, 50) for scale in (1.0, 2.0)]
VERDICTS = {1: "supported", 2: "contradicted", 3: "equivalent", 4: "inconclusive"}


def cells(generator, rows=ROWS, seeds=(0, 1, 2), shift=None, failed=(), training=0.03, sampling=0.01, images=400):
    """Cells of a run: all those of one training share its luck, so they are correlated; logs and shares are normal.

    ``shift`` is added to log FID and log PCA-FID by row; ``failed`` holds (row, seed).
    """
    found = []
    for place, row in enumerate(rows):
        for seed in seeds:
            luck = training * generator.normal(size=5)
            for sampler, steps, scale in WAYS:
                own = luck + sampling * generator.normal(size=5)
                log_fid = 1 + 0.2 * place + 4 / steps + (shift or {}).get(row, 0.0)
                bad = (row, seed) in failed
                asked = row != "ddpm"
                scores = {
                    "fid": math.exp(log_fid + own[0]),
                    "pca_fid": 0.1 * math.exp(log_fid + own[0] + own[1]),
                    "recall": round(images * (0.9 - 0.02 * scale + 0.2 * own[2])) / images,
                    "digit_error": generator.binomial(images, 0.01) / images if asked else None,
                    "slant_error": generator.binomial(images, 0.2) / images if asked else None,
                }
                key = {"paradigm": row, "seed": seed, "sampler": sampler, "steps": steps, "guidance": scale, "arm": ""}
                status = {"status": "failed" if bad else "ok", "images": images}
                found.append(key | status | ({} if bad else scores))
    return found


def run_of(generator, verdicts=VERDICTS, judge_="j", data="digits", name="digits", **how) -> dict[str, pd.DataFrame]:
    """The tables of an invented run."""
    own = cells(generator, **how)
    rows = {
        "cells": own,
        "claims": [
            {"number": n, "claim": f"c{n}", "title": "", "verdict": verdict, "effect": 0.1, "unit": "log ratio"}
            for n, verdict in verdicts.items()
        ],
        "claim_parts": [
            {"number": n, "claim": f"c{n}", "part": "p", "test": "difference", "metric": "fid", "direction": "lower",
             "margin": 0.1}
            for n in verdicts
        ],
        "floors": [{"split": "test", "fid": 1.0, "recall": 0.97, "digit_error": 0.01}],
        "paradigms": [{"paradigm": row, "network": "unet"} for row in dict.fromkeys(r["paradigm"] for r in own)],
        "training": [{"paradigm": "sd1", "seed": 0, "images": 72_000, "loss": 0.1, "status": "ok"}],
        "provenance": [
            {"key": key, "value": value}
            for key, value in {
                "run": name, "data": data, "classifier sha256": judge_, "commit": "abc", "params sha256": "p",
            }.items()
        ],
    }  # fmt: skip
    return {table: store.frame(table, values) for table, values in rows.items()}


def save(folder, frames):
    store.write(folder / "tables", {name: frames.get(name, store.frame(name, [])) for name in schema.TABLES})
    return folder


def pair(seed=0, left=None, right=None):
    generator = np.random.default_rng(seed)
    return run_of(generator, **(left or {})), run_of(generator, **(right or {}))


# The test


def test_two_runs_of_one_distribution_differ_at_most_once_in_twenty():
    """Cells of one training are correlated, seeds are three, errors are counts: as in a real run."""
    alarms, outside, runs = 0, [], 200
    for seed in range(runs):
        left, right = (pd.DataFrame(cells(np.random.default_rng([seed, side]), training=0.06)) for side in (0, 1))
        found = compare_cells(left, right, same_judge=True)
        alarms += bool((found.says == "differs").any())
        outside.append(found.outside.mean())
    assert alarms / runs <= 0.05
    assert np.mean(outside) == pytest.approx(0.05, abs=0.015), "the calibration that is reported is calibrated"


@pytest.mark.parametrize("shared", [0.0, 0.7, 0.98])
def test_without_a_tolerance_the_level_still_holds(shared):
    """The tolerance hides what a wrong test would do, so here is none: 2,000 pairs, cells correlated or not."""
    generator = np.random.default_rng(1)
    rows, each, runs, alarms = 8, 12, 2000, 0
    for _ in range(runs):
        luck = generator.normal(size=(2, rows, 1, 3))
        own = generator.normal(size=(2, rows, each, 3))
        sides = (math.sqrt(shared) * luck + math.sqrt(1 - shared) * own).reshape(2, rows * each, 3)
        p = two_sample(*sides, bound=0.0).p.to_numpy()
        alarms += bool((false_discovery_control(p) <= 0.05).any())
    assert alarms / runs <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / runs)


@pytest.mark.parametrize(("ratio", "power"), [(1.3, 0.8), (1.5, 1.0)])
def test_a_real_difference_in_one_row_is_found_there_and_nowhere_else(ratio, power):
    """Three seeds with a spread of three percent, one row of six whose FID is off."""
    found, wrong, runs = 0, 0, 40
    for seed in range(runs):
        left = pd.DataFrame(cells(np.random.default_rng([seed, 0])))
        right = pd.DataFrame(cells(np.random.default_rng([seed, 1]), shift={"dit": math.log(ratio)}))
        differing = compare_cells(left, right, same_judge=True).query("says == 'differs'")
        found += "dit" in set(differing.paradigm)
        wrong += bool(set(differing.paradigm) - {"dit"})
    assert found / runs >= power and wrong / runs <= 0.05


def test_a_trifle_is_no_difference_however_certain():
    """Four percent with a spread of a hundredth of a percent: as certain as can be, and below the tolerance."""
    how = {"training": 1e-4, "sampling": 1e-4}
    left, right = pair(0, how, how | {"shift": {"sd1": math.log(1.04)}})
    found = compare.frames(left, right)
    own = found.cells[(found.cells.paradigm == "sd1") & (found.cells.metric == "fid")]
    assert found.agrees and own.outside.all() and (own.p == 1).mean() == 0 and own.effect.round(2).eq(1.04).all()
    assert not compare.frames(left, run_of(np.random.default_rng(1), **how, shift={"sd1": math.log(1.08)})).agrees


def test_the_test_is_the_textbooks():
    generator = np.random.default_rng(2)
    a, b = generator.normal(size=(5, 3)), generator.normal(0.5, 1, size=(5, 4))
    mine = two_sample(a, b, bound=0.3)
    theirs = ttest_ind(b, a, axis=1)
    np.testing.assert_allclose(mine.p_plain, theirs.pvalue)
    interval = theirs.confidence_interval(0.95)
    np.testing.assert_allclose(mine[["low", "high"]].T, [interval.low, interval.high])
    for row in range(5):  # with a tolerance: the nearer of the two one-sided tests, and a little for the other side
        above = ttest_ind(b[row], a[row] + 0.3, alternative="greater").pvalue
        below = ttest_ind(b[row], a[row] - 0.3, alternative="less").pvalue
        assert min(above, below) <= mine.p[row] <= above + below and mine.p[row] >= mine.p_plain[row]


def test_one_seed_can_be_held_against_three_but_not_against_one():
    left, right = pair(3, right={"seeds": (0,)})
    found = compare.frames(left, right)
    assert found.agrees and (found.cells.n_right == 1).all() and found.cells.p.notna().all()
    alone = compare.frames(*pair(3, {"seeds": (0,), "verdicts": {}}, {"seeds": (0,), "verdicts": {}}))
    assert alone.agrees is None and set(alone.cells.says) == {"one seed each"}
    assert alone.summary == "nothing could be tested" and any("one seed on either side" in n for n in alone.notes)


@pytest.mark.parametrize(("metric", "low", "high"), [("digit_error", 0.0, 3 / 400), ("recall", 0.92, 0.95)])
def test_seeds_that_tie_are_not_certain(metric, low, high):
    """As two of three seeds did on the digits: no spread and more than a trifle apart, and yet only counts."""
    left, right = (pd.DataFrame(cells(np.random.default_rng(0))) for _ in range(2))
    left.loc[left[metric].notna(), metric] = low
    right.loc[right[metric].notna(), metric] = high
    found = compare_cells(left, right, True).query("metric == @metric")
    assert (found.low < found.high).all() and (found.says == "agrees").all()


def test_a_run_agrees_with_itself_to_the_last_digit():
    left, right = pair(0)[0], pair(0)[0]
    found = compare.frames(left, right)
    assert found.agrees and set(found.cells.says) == {"same"} and found.provenance.empty and found.notes == ()
    ratios, others = found.cells.scale == "ratio", found.cells.scale == "difference"
    assert (found.cells.effect[ratios] == 1).all() and (found.cells.effect[others] == 0).all()
    assert found.summary == (
        "the runs agree within seed noise: all 224 values of 48 cells are the same to the last digit; "
        "0 of 3 claims decided by both disagree"
    )


def test_another_classifier_leaves_only_what_needs_none():
    """A classifier of its own moves every FID of a run: that is no disagreement of the models."""
    left, right = pair(4, right={"judge_": "k"})
    right["cells"]["fid"] *= 1.5
    found = compare.frames(left, right)
    assert found.agrees
    tested = found.cells.groupby("metric").says.unique()
    assert {name for name, says in tested.items() if list(says) == ["other classifier"]} == {
        "fid", "recall", "digit_error",
    }  # fmt: skip
    assert any("classifiers differ" in note for note in found.notes)
    left, right = pair(4, right={"judge_": "k", "shift": {"dit": math.log(1.4)}})
    assert not compare.frames(left, right).agrees, "the second opinion still sees it"


# What is missing, failed or not comparable


def test_missing_rows_and_cells_are_listed():
    left, right = pair(5, {"rows": ROWS[:5]})
    right["cells"] = right["cells"].query("not (paradigm == 'sd1' and steps == 50)").reset_index(drop=True)
    found = compare.frames(left, right)
    assert found.agrees
    assert (found.cells.query("paradigm == 'unet-eps'").says == "only right").all()
    assert found.cells.query("paradigm == 'sd1' and steps == 50").says.tolist() == ["only left"] * 2
    assert any(note == "rows that the left run lacks: unet-eps" for note in found.notes)
    assert any(note.startswith("2 cells that the right run lacks: sd1: ddim, 50 steps") for note in found.notes)


def test_a_cell_that_failed_on_one_side_only_is_a_disagreement():
    all_seeds = [("dit", seed) for seed in range(3)]
    left, right = pair(6, {"failed": all_seeds})
    found = compare.frames(left, right)
    assert found.agrees is False and (found.cells.query("paradigm == 'dit'").says == "failed left").all()
    assert "8 cells failed on one side only" in found.summary
    both = compare.frames(*pair(6, {"failed": all_seeds}, {"failed": all_seeds}))
    assert both.agrees and set(both.cells.query("paradigm == 'dit'").says) == {"failed on both sides"}
    one = compare.frames(*pair(6, {"failed": all_seeds[:1]}))
    assert one.agrees and one.cells.query("paradigm == 'dit'").n_left.eq(2).all(), "one of three is compared on two"
    assert "failed on the left: dit, seed 0" in one.notes


def test_another_number_of_images_is_not_compared():
    found = compare.frames(*pair(7, right={"images": 50, "verdicts": {}}))
    assert found.agrees is None and set(found.cells.says) == {"other number of images"}
    assert found.provenance.set_index("key").loc["images of a cell"].tolist() == ["400", "50"]


def test_a_column_that_one_run_lacks_is_named():
    left, right = pair(8)
    left["cells"] = left["cells"].drop(columns="slant_error")
    found = compare.frames(left, right)
    assert found.agrees and "the tables of the left run have no column slant_error" in found.notes


def test_presets_of_other_data_are_compared_by_their_claims_only():
    left, right = pair(9, right={"data": "mnist", "name": "mnist", "verdicts": VERDICTS | {1: "contradicted"}})
    found = compare.frames(left, right)
    assert found.cells.empty and found.agrees is False
    assert found.notes[0].startswith("the data differ (digits and mnist), so no cell means the same")
    assert found.claims.says.tolist() == ["disagrees", "agrees", "agrees", "both undecided"]


def test_what_differs_in_params_is_named():
    left, right = pair(10)
    right["paradigms"] = right["paradigms"].assign(network=["dit", *["unet"] * 5])
    right["provenance"].loc[right["provenance"]["key"] == "params sha256", "value"] = "q"
    found = compare.frames(left, right)
    assert found.provenance.set_index("key").right.to_dict() == {"params sha256": "q", "network of ddpm": "dit"}
    assert any(note.startswith("the params differ") for note in found.notes)


# Claims


@pytest.mark.parametrize("left", schema.VERDICTS)
@pytest.mark.parametrize("right", schema.VERDICTS)
def test_claims_disagree_only_where_not_both_can_be_right(left, right):
    found = compare.frames(*pair(0, {"verdicts": {1: left}}, {"verdicts": {1: right}}))
    pairs = {frozenset(("supported", "contradicted")), frozenset(("supported", "equivalent"))}
    disagrees = frozenset((left, right)) in pairs
    assert (found.claims.says[0] == "disagrees") == disagrees == (not found.agrees)
    if "supported" in (left, right) and "inconclusive" in (left, right):
        assert found.claims.says[0] == "decided by one"


def test_a_claim_of_one_run_or_with_another_margin_is_not_compared():
    left, right = pair(0, {"verdicts": {1: "supported", 2: "supported"}}, {"verdicts": {1: "contradicted"}})
    right["claim_parts"] = right["claim_parts"].assign(margin=0.2)
    found = compare.frames(left, right)
    assert found.claims.says.tolist() == ["another test", "only left"] and found.agrees
    assert "claims whose test or margin differs, not compared: c1" in found.notes


@pytest.mark.parametrize("margin", [0.0, 1.0])
def test_two_runs_of_one_truth_seldom_disagree_on_a_claim(margin):
    """At the worst truth, on the margin or between the margins, fewer than one pair in a hundred."""
    generator = np.random.default_rng(5)
    for truth in (0.0, 0.5 * margin, margin, 1.5 * margin + 0.5):
        effects = truth + generator.normal(size=(600, 2, 3))
        wrong = sum(opposed(*(judge("difference", side, margin).verdict for side in two)) for two in effects)
        assert wrong / 600 < 0.01, truth


# The command line


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    left, right = pair(11, right={"shift": {"dit": 0.5}})
    save(tmp_path / "reports/digits", left)
    save(tmp_path / "other", right)
    return tmp_path


def test_exit_codes_and_the_table(here, capsys):
    assert cli.main(["compare", "digits", "digits"]) == 0
    assert capsys.readouterr().out.endswith("0 of 3 claims decided by both disagree\n")
    assert cli.main(["compare", "digits", "other", "--csv", "cells.csv"]) == 1
    out = capsys.readouterr().out
    assert "the runs disagree" in out and "dit: ddim, 8 steps, guidance 1" in out and "sd1: ddim" not in out
    written = pd.read_csv(here / "cells.csv")
    assert written.columns.tolist() == [column.name for column in CELLS] and len(written) == 224
    assert cli.main(["compare", "digits", "other/tables", "--all"]) == 1
    assert "sd1: ddim, 8 steps" in capsys.readouterr().out


def test_a_mistake_is_one_line_and_exit_code_two(here, capsys):
    def said(*arguments):
        assert cli.main(["compare", *arguments]) == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        return lines[0]

    assert said("digits", "nowhere").startswith("error: nowhere: no tables found; give the name of a run")
    assert said("digits").startswith("error: digits: no reference of the run digits under reports/reference")
    (here / "other/tables/floors.parquet").unlink()
    assert said("digits", "other").startswith("error: other/tables/floors.parquet: missing")
    alone = run_of(np.random.default_rng(0), seeds=(0,), verdicts={})
    for name, side in (("a", alone), ("b", run_of(np.random.default_rng(1), seeds=(0,), verdicts={}))):
        save(here / name, side)
    assert "nothing could be tested: one seed on either side" in said("a", "b")


def test_another_major_schema_is_refused(here, capsys):
    path = here / "other/tables/cells.parquet"
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({**table.schema.metadata, b"diffbench_schema": b"9.0"}), path)
    assert cli.main(["compare", "digits", "other"]) == 2
    assert capsys.readouterr().err.startswith("error: other/tables/cells.parquet: has table schema 9.0")


# References


def test_one_argument_compares_with_the_committed_reference(here, capsys):
    assert reference_of("digits") is None
    save(here / "reports/reference/a-mnist", run_of(np.random.default_rng(0), name="mnist", data="mnist"))
    save(here / "reports/reference/digits-cpu", run_of(np.random.default_rng(99)))
    (here / "reports/reference/notes").mkdir()
    assert reference_of("digits").as_posix() == "reports/reference/digits-cpu"
    assert reference_of("mnist").name == "a-mnist" and reference_of("smoke") is None
    assert cli.main(["compare", "digits"]) == 0
    assert "right: reports/reference/digits-cpu/tables" in capsys.readouterr().out
    assert cli.main(["compare", "digits-cpu", "digits"]) == 0, "a reference can be called by its name"


def test_references_are_versioned_and_are_no_output(at_root):
    """Neither Git nor DVC ignores them, and no rule or stage writes below reports/reference."""
    path = "reports/reference/mnist-h200/tables/cells.parquet"
    ignored = subprocess.run(["git", "check-ignore", "-q", "--no-index", path], cwd=ROOT)
    assert ignored.returncode == 1
    from dvc.ignore import DvcIgnoreFilter
    from dvc.repo import Repo

    with Repo(".") as repo:
        assert isinstance(repo.dvcignore, DvcIgnoreFilter) and not repo.dvcignore.is_ignored_file(str(ROOT / path))
        for out in repo.index.outs:
            assert not (ROOT / path).is_relative_to(out.fs_path), out
    constraint = re.search(r'run="(.+)"', (ROOT / "workflow/rules/common.smk").read_text()).group(1)
    assert re.fullmatch(constraint, "mnist") and not re.fullmatch(constraint, "reference/mnist-h200")
