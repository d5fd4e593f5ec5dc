"""The smoke run through real Snakemake and DVC processes, in a clone of the working tree."""

import json
import re
import shutil
import time

import pandas as pd
import pytest
from clones import differing, edit, edit_params, fresh, planned, run, steady
from conftest import ROOT

from diffbench import runs
from diffbench.stages import report

pytestmark = pytest.mark.engines


def test_snakemake_makes_the_report_and_says_the_finding(finished):
    clone, _, output = finished
    report = clone / "reports/smoke/report.html"
    assert report.stat().st_size < 8e6 and "Smoke run: do not cite" in report.read_text()
    assert "real test digits score" in output and report.resolve().as_uri() in output
    cells = (clone / "reports/smoke/tables/cells.csv").read_text().splitlines()
    # ddpm: 2 samplers at 2 step counts, the native cell and 2 arms; the others: 3 scales at the sweep and 2 elsewhere,
    # and sd1 4 arms, dit 2 native cells, sd3 2 more samplers at 2 scales and 2 step counts
    assert len(cells) == 1 + (2 * 2 + 1 + 2) + 4 * (3 + 2) + 4 + 2 + 2 * 2 * 2
    assert not [line for line in cells[1:] if ",ok," not in line]
    floors = pd.read_csv(clone / "reports/smoke/tables/floors.csv").set_index("split")
    drawn = floors.loc["train, drawn at random"]
    assert 0 < drawn.fid < drawn.fid_high and pd.isna(floors.fid_high["test"])
    manifest = json.loads((clone / "results/smoke/manifest.json").read_text())
    assert len(manifest["files"]) > 70
    assert run("python", "-m", "diffbench", "verify", "smoke", cwd=clone)


def test_nothing_runs_again_and_params_taken_over_rerun_nothing(finished, tmp_path):
    """After ``params --write`` both engines find all current; one learning rate then reruns the same in both."""
    clone = fresh(finished, tmp_path)
    assert planned(clone) == {}
    output = run("python", "-m", "diffbench", "params", "--preset", "smoke", "--write", cwd=clone)
    assert "verified and taken over" in output
    assert planned(clone) == {}
    assert "up to date" in run("dvc", "status", cwd=clone)
    before = {path: path.stat().st_mtime_ns for path in (clone / "results/smoke/train").rglob("*.safetensors")}
    assert "up to date" in run("dvc", "repro", cwd=clone)
    assert {path: path.stat().st_mtime_ns for path in before} == before

    text = (clone / "params.yaml").read_text()
    block = text.index("  sd2:")
    (clone / "params.yaml").write_text(text[:block] + text[block:].replace("lr: 0.002", "lr: 0.003", 1))
    once = ("train", "evaluate", "convergence", "probe", "aggregate", "claims", "report", "manifest", "smoke")
    expected = {"sample": 2} | dict.fromkeys(once, 1)
    assert planned(clone) == expected
    output = run("dvc", "repro", cwd=clone)
    ran = re.findall(r"Running stage '([^']+)'", output)
    assert sorted(name.split("@")[0] for name in ran) == sorted(["sample", "sample", *once[:-1]])
    assert all("sd2" in name for name in ran if "@" in name)
    assert planned(clone) == {}, "what DVC made, Snakemake accepts"
    assert "up to date" in run("dvc", "status", cwd=clone)


@pytest.mark.slow
def test_dvc_alone_from_a_fresh_clone(finished, tmp_path, monkeypatch):
    """dvc repro first, then Snakemake has nothing to do; the files are those that Snakemake made, one job at a time.

    Weights, images, scores, tables and pictures; and the page, but for what a clock says.
    """
    clone = fresh(finished, tmp_path)
    made = steady(clone)
    for name in ("results", "reports/smoke", ".snakemake", "dvc.lock"):
        path = clone / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    shutil.copytree(ROOT / "workflow", clone / "workflow", dirs_exist_ok=True)
    run("python", "-m", "diffbench", "params", "--preset", "smoke", "--write", "--force", cwd=clone)
    run("git", "commit", "-qam", "smoke is params.yaml", cwd=clone)
    started = time.monotonic()
    run("dvc", "repro", cwd=clone)
    print(f"dvc repro: {time.monotonic() - started:.0f} s")
    assert planned(clone) == {}
    assert "up to date" in run("dvc", "status", cwd=clone)
    assert differing(steady(clone), made) == [] and len(made) > 90
    for path in (finished[0] / "reports/smoke/tables").iterdir():
        if path.stem in ("cost", "provenance"):
            shutil.copy(path, clone / "reports/smoke/tables")
    monkeypatch.chdir(clone)
    report.run(runs.load("smoke"))
    assert (clone / "reports/smoke/report.html").read_bytes() == (
        finished[0] / "reports/smoke/report.html"
    ).read_bytes()


def test_a_touched_source_or_comment_reruns_nothing(finished, tmp_path):
    clone = fresh(finished, tmp_path)
    (clone / "src/diffbench/training/trainer.py").touch()
    text = (clone / "workflow/presets/smoke.yaml").read_text()
    (clone / "workflow/presets/smoke.yaml").write_text(f"# a comment\n{text}")
    assert planned(clone) == {}


def test_an_added_step_count_samples_that_step_count_only(finished, tmp_path):
    clone = fresh(finished, tmp_path)
    path = clone / "workflow/presets/smoke.yaml"
    path.write_text(path.read_text().replace("steps: [2, 4]", "steps: [2, 4, 5]"))
    assert planned(clone) == {
        "sample": 5, "evaluate": 5, "aggregate": 1, "claims": 1, "report": 1, "manifest": 1, "smoke": 1,
    }  # fmt: skip


def test_results_of_unknown_making_are_not_planned_over(finished, tmp_path):
    clone = fresh(finished, tmp_path)
    shutil.rmtree(clone / ".snakemake")
    output = run("snakemake", "--cores", "1", "-n", "smoke", cwd=clone, code=2)
    assert "python -m diffbench adopt smoke" in output
    run("python", "-m", "diffbench", "adopt", "smoke", cwd=clone)
    assert planned(clone) == {}
    path = next((clone / "results/smoke/samples/sd1/0").glob("*.npz"))
    path.write_bytes(path.read_bytes() + b"x")
    shutil.rmtree(clone / ".snakemake")
    output = run("python", "-m", "diffbench", "adopt", "smoke", cwd=clone, code=2)
    assert f"{path.relative_to(clone)}: changed" in output and "not adopted" in output


def test_the_guard_asks_about_the_run_that_is_asked_for(finished, tmp_path):
    """Records of one run say nothing of another that came from elsewhere, which blocks no other in turn."""
    clone = fresh(finished, tmp_path)
    foreign = clone / "results/digits/manifest.json"
    foreign.parent.mkdir()
    foreign.write_text("{}")
    assert planned(clone) == {}
    for target in ("digits", "results/digits/manifest.json"):
        output = run("snakemake", "--cores", "1", "-n", target, cwd=clone, code=2)
        assert "python -m diffbench adopt digits" in output


def test_a_mistake_in_params_stops_both_engines_before_anything_runs(finished, tmp_path):
    clone = fresh(finished, tmp_path)
    edit(clone, "ema: 0.999", "ema: 2")
    output = run("snakemake", "--cores", "1", cwd=clone, code=2)
    assert "error: params.yaml: training.ema: 2; allowed: less than 1" in output
    assert "Traceback" not in output
    assert (clone / "results/smoke/manifest.json").exists()


def test_a_mistake_in_params_costs_nothing_under_dvc(both, tmp_path):
    """DVC deletes a stage's outputs before the stage can refuse; they come back from its cache with the params."""
    clone = fresh(both, tmp_path)
    before = steady(clone)
    edit_params(clone, "training.ema", 2)
    output = run("dvc", "repro", cwd=clone, code=255)
    assert "error: params.yaml: training.ema: 2; allowed: less than 1" in output and "Traceback" not in output
    edit_params(clone, "training.ema", 0.999)
    assert "Running stage" not in run("dvc", "repro", cwd=clone)
    assert differing(steady(clone), before) == []


def test_lint_is_clean(finished):
    assert "Congratulations" in run("snakemake", "--lint", cwd=finished[0])


@pytest.mark.slow
def test_a_diverging_paradigm_fails_alone(finished, tmp_path):
    """Its rows say failed; every other row, the tables and the report are there."""
    clone = fresh(finished, tmp_path)
    path = clone / "src/diffbench/diffusion/objective.py"
    text = path.read_text()
    spoiled = "(denoiser.output(x_t, t, prompt) - wanted)"
    assert text.count(spoiled) == 1
    path.write_text(text.replace(spoiled, f"({spoiled} / (denoiser.target != 'velocity'))"))
    run("snakemake", "--cores", "2", "smoke", cwd=clone)
    cells = pd.read_csv(clone / "reports/smoke/tables/cells.csv")
    assert set(zip(cells.paradigm, cells.status, strict=True)) == {
        ("ddpm", "ok"), ("sd1", "ok"), ("sd2", "ok"), ("dit", "ok"), ("sd3", "failed"),
    }  # fmt: skip
    grown = pd.read_csv(clone / "reports/smoke/tables/convergence.csv")
    assert set(grown.status[grown.paradigm == "sd3"]) == {"failed"}
    assert "Some trainings failed" in (clone / "reports/smoke/report.html").read_text()
