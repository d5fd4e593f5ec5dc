"""A day with DVC's experiments: run, queued, shown, applied, branched, shared, compared and cleaned up."""

import csv
import io
import json
import subprocess
import time

import pytest
from clones import fresh, planned, run
from conftest import ROOT

pytestmark = pytest.mark.engines

SHOWN = ("--only-changed", "--drop", "src/|results/|reports/")  # as docs/change.md has it


def experiments(clone, *options: str) -> list[dict[str, str]]:
    """The table of experiments by column."""
    return list(csv.DictReader(io.StringIO(run("dvc", "exp", "show", "--csv", *options, cwd=clone))))


def current(clone) -> bool:
    return planned(clone) == {} and "up to date" in run("dvc", "status", cwd=clone)


def test_what_dvc_shows_fits_a_screen(both):
    """Headline figures come first, and each plot has points of all its rows."""
    columns = [*experiments(both[0])[0]]
    first = columns.index("best_fid")
    figures = ["best_fid", "best_nfe", "best_row", *(f"fid.{row}" for row in ("ddpm", "dit", "sd1", "sd2", "sd3"))]
    assert columns[first : first + 9] == [*figures, "real_fid"]
    metrics = json.loads(run("dvc", "metrics", "show", "--json", cwd=both[0]))
    found = metrics[""]["data"]["reports/smoke/headline.json"]["data"]
    assert found["best_fid"] == found["fid"][found["best_row"]]
    assert found["best_fid"] == min(fid for row, fid in found["fid"].items() if row != "ddpm"), "which has no prompts"
    full = json.loads((both[0] / "reports/smoke/metrics.json").read_text())
    assert {row: full[row]["best_fid"] for row in found["fid"]} == found["fid"]
    names = {"Quality against evaluations": "nfe", "Guidance": "joint_error", "Convergence": "images"}
    for name, x in (names | {"Training loss": "images"}).items():
        spec = json.loads(run("dvc", "plots", "show", name, "--show-vega", cwd=both[0]))
        assert spec["encoding"]["x"]["field"] == x and spec["encoding"]["color"]["field"] == "paradigm"
        rows = {point["paradigm"] for point in spec["data"]["values"]}
        assert rows == {"ddpm", "dit", "sd1", "sd2", "sd3"} - ({"ddpm"} if name == "Guidance" else set())
        assert not [point for point in spec["data"]["values"] if not point[x]], name
    for template in ("rows", "trade"):
        assert "<DVC_METRIC_DATA>" in (ROOT / f".dvc/plots/{template}.json").read_text()


@pytest.mark.slow
def test_an_experiment_here_is_shown_and_taken_back(both, tmp_path):
    """exp run -S in the folder itself, metrics diff, plots diff, and both engines content."""
    clone = fresh(both, tmp_path)
    run("dvc", "exp", "run", "-n", "slow", "-S", "paradigms.sd1.lr=0.003", cwd=clone)
    assert current(clone)
    shown = {row["Experiment"]: row for row in experiments(clone, *SHOWN)}
    assert shown["slow"]["paradigms.sd1.lr"] == "0.003" and len(shown["slow"]) <= 10
    rows = json.loads(run("dvc", "metrics", "diff", "--json", cwd=clone))["reports/smoke/headline.json"]
    assert {name for name in rows if name.startswith("fid.")} == {"fid.sd1"}
    spec = json.loads(run("dvc", "plots", "diff", "HEAD", "--targets", "Convergence", "--show-vega", cwd=clone))
    assert {point["rev"] for point in spec["data"]["values"]} == {"HEAD", "workspace"}


@pytest.mark.slow
def test_a_queued_experiment_runs_its_own_code_and_is_pushed(both, tmp_path):
    """Queue, an edit of code and params in the meantime, then apply, branch, push and gc."""
    clone = fresh(both, tmp_path)
    run("dvc", "exp", "run", "--queue", "-n", "fast", "--allow-missing", "-S", "paradigms.sd1.lr=0.003", cwd=clone)
    source = clone / "src/diffbench/stages/train.py"
    text = source.read_text()
    source.write_text("raise SystemExit('the code of another folder')\n")
    run("dvc", "queue", "start", cwd=clone)
    end = time.monotonic() + 500
    while "Success" not in (said := run("dvc", "queue", "status", cwd=clone)):
        assert "Failed" not in said and time.monotonic() < end, run("dvc", "queue", "logs", "fast", cwd=clone)[-2000:]
        time.sleep(5)
    source.write_text(text)
    log = run("dvc", "queue", "logs", "fast", cwd=clone)
    assert "Running stage 'train@sd1-0'" in log and "Running stage 'sample@sd2-0-2'" not in log

    run("dvc", "exp", "apply", "fast", cwd=clone)
    output = run("python", "-m", "diffbench", "adopt", "smoke", cwd=clone, code=2)
    assert "prune smoke --yes" in output, "images of the former state are left behind"
    run("python", "-m", "diffbench", "prune", "smoke", "--yes", cwd=clone)
    run("python", "-m", "diffbench", "adopt", "smoke", cwd=clone)
    assert planned(clone) == {}
    run("dvc", "exp", "branch", "fast", "try-fast", cwd=clone)
    assert "0.003" in run("git", "show", "try-fast:params.yaml", cwd=clone)

    subprocess.run(["git", "init", "-q", "--bare", str(tmp_path / "git")], check=True)
    run("git", "remote", "add", "origin", str(tmp_path / "git"), cwd=clone)
    run("git", "push", "-q", "origin", "HEAD:main", cwd=clone)
    run("dvc", "remote", "add", "-q", "-d", "storage", str(tmp_path / "storage"), cwd=clone)
    run("dvc", "exp", "push", "origin", "fast", cwd=clone)
    run("dvc", "gc", "-w", "--all-experiments", "-f", cwd=clone)
    assert planned(clone) == {}, "what the collection left is the run's"
