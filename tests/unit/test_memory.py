"""What jobs hold in memory at once is said before they start, from what was measured."""

import pytest
from conftest import ROOT

from diffbench import cli, runs
from diffbench.pipeline import memory

GIB = 2**30


@pytest.mark.parametrize(("run", "megabytes"), [("digits", 961), ("mnist-small", 1747)])
def test_the_estimate_is_what_the_presets_runs_held(at_root, run, megabytes):
    assert megabytes <= memory.estimate(runs.load(run)) / 1e6 <= 1.15 * megabytes


def test_larger_networks_and_batches_are_said_to_hold_more(at_root):
    """Eight times the parameters, and three times the images at once."""
    assert memory.estimate(runs.load("mnist")) > 2 * memory.estimate(runs.load("mnist-small"))


def test_the_last_runs_logs_are_believed_first(workplace):
    (workplace / "logs/digits/train").mkdir(parents=True)
    (workplace / "logs/digits/train/sd1-0.log").write_text("x\ntrain: 3.1 s, at most 2500 MB resident\n")
    (workplace / "logs/digits/data.log").write_text("data: 3.1 s, at most 900 MB resident, 12 MB on the GPU\n")
    (workplace / "logs/digits/claims.log").write_bytes(b"\xff killed")
    assert memory.measured("digits") == 2_500_000_000 and memory.measured("smoke") is None
    said = memory.summary(runs.load("digits"), 3)
    assert said.startswith("memory: 3 jobs at once, of which the largest hold about 2.33 GiB (by the last run's logs)")


@pytest.mark.parametrize(
    ("free", "cores", "end"),
    [
        (64 * GIB, 8, "64.00 GiB free"),
        (4 * GIB, 8, "4.00 GiB free; jobs may be killed: '--cores 4' holds fewer"),
        (GIB // 2, 8, "jobs may be killed: free some, or choose smaller batches in params"),
        (GIB // 2, 1, "jobs may be killed: free some, or choose smaller batches in params"),
    ],
)
def test_what_does_not_fit_is_said_with_the_way_out(at_root, monkeypatch, free, cores, end):
    monkeypatch.setattr(memory, "free", lambda: free)
    said = memory.summary(runs.load("digits"), cores)
    assert said.endswith(end) and "\n" not in said
    assert ("1 job at a time" in said) == (cores == 1)


def test_threads_of_a_job_count_and_no_more_jobs_than_there_are(at_root, monkeypatch):
    monkeypatch.setattr(memory, "cuda_devices", lambda: 0)
    params = runs.load("mnist")  # four threads a job
    assert "memory: 2 jobs at once" in memory.summary(params, 8)
    assert "memory: 1 job at a time" in memory.summary(params, 3)
    smoke = runs.load("smoke")
    assert f"memory: {len(memory.jobs(smoke))} jobs at once" in memory.summary(smoke, 10**6)


def test_of_a_first_run_on_cuda_nothing_is_made_up(at_root, monkeypatch):
    monkeypatch.setattr(memory, "cuda_devices", lambda: 1)
    monkeypatch.setattr(memory, "measured", lambda run: None)
    assert memory.summary(runs.load("mnist"), 8) == ""


def group(folder, **values):
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in values.items():
        (folder / name.replace("_max", ".max").replace("_current", ".current").replace("_stat", ".stat")).write_text(
            value
        )


def test_limits_of_containers_and_schedulers_hold(tmp_path):
    """Of both versions of control groups; the tightest of those around a process."""
    assert list(memory._limits(tmp_path / "none", tmp_path)) == []
    two = tmp_path / "two"
    group(two / "slurm/job", memory_max="max", memory_current="5", memory_stat="inactive_file 2")
    group(two / "slurm", memory_max="1000", memory_current="600", memory_stat="anon 1\ninactive_file 100")
    (tmp_path / "groups").write_text("0::/slurm/job\n")
    assert list(memory._limits(tmp_path / "groups", two)) == [500]
    one = tmp_path / "one"
    folder = one / "memory"
    folder.mkdir(parents=True)
    (folder / "memory.limit_in_bytes").write_text("3000\n")
    (folder / "memory.usage_in_bytes").write_text("1000\n")
    (folder / "memory.stat").write_text("inactive_file 1\ntotal_inactive_file 7\n")
    (tmp_path / "groups").write_text("5:devices:/\n4:memory:/docker/that/is/not/seen/here\n0::/\n")
    assert list(memory._limits(tmp_path / "groups", one)) == [2007]


def test_the_command_says_it_beside_the_disk(workplace, capsys):
    assert cli.main(["disk", "digits"]) == 0
    disk, held = capsys.readouterr().out.splitlines()
    assert disk.startswith("disk: about") and held.startswith("memory: 1 job at a time") and held.endswith("free")
    assert "memory.summary" in (ROOT / "Snakefile").read_text()
