"""MNIST itself at its own size: every stage with both engines, and how much memory each job holds."""

import importlib
import os
import re
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
import yaml
from clones import cloned, edit_params, planned, run
from conftest import ROOT

from diffbench import cli
from diffbench.data.sources import idx, mnist
from diffbench.errors import UserError
from diffbench.runtime.files import read_json

RUN = "mnist-small"
JOBS = (
    "data", "classifier", "reference", "train", "sample", "evaluate", "convergence", "probe", "aggregate", "claims",
    "report", "manifest",
)  # fmt: skip

# Each network, with a prompt and without. Other rows take no more memory.
ROWS = ("ddpm", "sd1", "dit", "sd3", "unet-velocity")
# Short budgets with all that memory rests on left as it is: the networks, the images trained on, scored and sampled at
# once, and the three splits. A cell has the images of one batch; fewer would not reach its peak, and more are bytes.
SHORT = {
    "compute.device": "cpu",
    "seeds": [0],
    "classifier.epochs": 1,
    "training.images": 2048,
    "training.warmup": 10,
    "training.snapshots": [0.5],
    "sampling.steps": [2, 4],
    "sampling.guidance": {"everywhere": [1, 1.5], "sweep": [0, 1, 1.5], "sweep_steps": 2, "full_seeds": []},
    "sampling.selection_images": 100,
    "convergence.steps": 2,
    "probe.bins": 2,
    "probe.log_snr": [-4, 0, 4],
    "probe.steps": 8,
    "probe.frames": 4,
}


def absent() -> str:
    """Why MNIST cannot be read here, or nothing."""
    named = os.environ.get(mnist.FILES.variable)
    if not named:
        return f"{mnist.FILES.variable} names no folder with the four files"
    missing = [name for name in idx.FILES if not (ROOT / named / name).is_file()]
    return f"{mnist.FILES.variable}={named} lacks {', '.join(missing)}" if missing else ""


WHY = absent()
needs_mnist = pytest.mark.skipif(bool(WHY), reason=WHY or "the files are there")


@pytest.fixture
def memory(monkeypatch):
    """The benchmark that reads how much memory jobs held."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("memory")


def shorten(clone) -> None:
    """Make the run a short one: ``ROWS``, ``SHORT``, and few steps in the cells outside the grid."""
    whole = yaml.safe_load((clone / "params.yaml").read_text())
    edit_params(clone, "paradigms", {key: whole["paradigms"][key] for key in ROWS})
    for kind in ("native", "arms"):
        every = whole["sampling"][kind]
        edit_params(clone, f"sampling.{kind}", {key: own for key, own in every.items() if key in ROWS})
    for key, value in SHORT.items():
        edit_params(clone, key, value)
    sampling = yaml.safe_load((clone / "params.yaml").read_text())["sampling"]
    edit_params(clone, "sampling.images", sampling["batch_size"])
    for row in sampling["native"]:
        edit_params(clone, f"sampling.native.{row}.steps", 3)  # another than the grid's
    for row, arms in sampling["arms"].items():
        for arm in arms:
            edit_params(clone, f"sampling.arms.{row}.{arm}.steps", 3)


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    """A committed clone in which Snakemake has made the short run, with MNIST_DIR set for what runs there next."""
    clone = cloned(tmp_path_factory.mktemp("mnist") / "clone")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(mnist.FILES.variable, str((ROOT / os.environ[mnist.FILES.variable]).resolve()))
        run("python", "-m", "diffbench", "params", "--preset", RUN, "--write", cwd=clone)
        shorten(clone)
        run("git", "commit", "-qam", "a short run is params.yaml", cwd=clone)
        run("snakemake", "--cores", "2", RUN, cwd=clone)
        yield clone


@needs_mnist
@pytest.mark.slow
@pytest.mark.engines
def test_every_stage_runs_at_mnists_own_size_and_both_engines_find_it_current(grown):
    facts = read_json(grown / f"results/{RUN}/data.json")
    assert [facts[f"{split}_images"] for split in ("train", "validation", "test")] == [55_000, 5000, 10_000]
    assert np.load(grown / f"results/{RUN}/data.npz")["test_labels"][:5].tolist() == [7, 2, 1, 0, 4]
    assert read_json(grown / f"results/{RUN}/classifier.json")["test_accuracy"] > 0.95
    cells = pd.read_csv(grown / f"reports/{RUN}/tables/cells.csv")
    rows = yaml.safe_load((grown / "params.yaml").read_text())["paradigms"]
    assert set(cells.paradigm) == set(rows) and set(cells.status) == {"ok"}
    assert (grown / f"reports/{RUN}/report.html").stat().st_size < 8e6
    assert planned(grown, RUN) == {}
    assert "up to date" in run("dvc", "status", cwd=grown)
    assert "Running stage" not in run("dvc", "repro", cwd=grown)


@needs_mnist
@pytest.mark.slow
@pytest.mark.engines
def test_no_job_of_mnist_holds_two_gigabytes(grown, memory):
    """Two jobs at once are then no trouble for a machine of eight. Scoring by the classifier once took ten alone.

    Read from the logs, of jobs that a shell started: a child of this process would inherit its peak.
    """
    peaks, without = memory.recorded(grown, RUN)
    assert without == [] and {peak.stage for peak in peaks} == set(JOBS)
    table = {peak.log: peak.megabytes for _, peak in memory.largest(peaks)}
    print(table)
    assert all(megabytes < memory.MOST for megabytes in table.values()), table


def test_a_job_ends_with_what_it_took_and_no_other_command_does(workplace, memory, monkeypatch, capsys):
    assert cli.main(["data", "smoke"]) == 0
    (stage, seconds, megabytes) = memory.LINE.findall(capsys.readouterr().out.splitlines()[-1])[0]
    assert stage == "data" and 0 < float(seconds) < 600 and 10 < int(megabytes) < 100_000
    assert cli.main(["disk", "smoke"]) == 0 and cli.main(["prune", "smoke"]) == 0
    assert "resident" not in capsys.readouterr().out

    @contextmanager
    def made_meanwhile(*_):
        yield False

    monkeypatch.setattr(cli, "recording", made_meanwhile)
    assert cli.main(["data", "smoke"]) == 0 and "resident" not in capsys.readouterr().out


def test_every_stage_is_a_job():
    assert set(cli.STAGES) == {*JOBS, "tune"} and not set(cli.STAGES) & set(cli.ON_REQUEST)


def test_peaks_are_read_from_the_logs_and_held_against_a_limit(memory, tmp_path, capsys):
    logs = {
        "data.log": "data: 1.0 s, at most 300 MB resident\n",
        "train/a-0.log": "train a 5/5\nsaid before\ntrain: 9.5 s, at most 700 MB resident\n",
        "train/a-1.log": "train: 9.5 s, at most 2100 MB resident, 4000 MB on the GPU\n",
        "report.log": "killed before its end\n",
    }
    for name, text in logs.items():
        path = tmp_path / "logs/run" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    arguments = ["run", "--folder", str(tmp_path)]
    assert memory.main(arguments) == 0 and memory.main([*arguments, "--limit", "2100"]) == 0
    capsys.readouterr()
    assert memory.main([*arguments, "--limit", "--json", str(tmp_path / "peaks.json")]) == 1
    said = capsys.readouterr().out
    assert re.search(r"^train +2 +2100 MB  train/a-1\.log  ABOVE THE LIMIT$", said, re.MULTILINE)
    assert "1 logs say nothing, as report.log" in said and "1 of 3 jobs held more than 2000 MB" in said
    found = read_json(tmp_path / "peaks.json")
    assert found["above"] == ["train/a-1.log"] and [row["stage"] for row in found["stages"]] == ["train", "data"]
    with pytest.raises(UserError, match="no log says"):
        memory.recorded(tmp_path, "other")
