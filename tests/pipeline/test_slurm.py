"""The Slurm profile on a real cluster of one node: the bytes of one machine, and what is cancelled or killed."""

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager

import pytest
import yaml
from clones import cloned, differing, environment, fresh, planned, run, steady
from cluster import ACCOUNT, PARTITION, cluster, lacking
from conftest import ROOT

PLUGIN = "snakemake_executor_plugin_slurm"
PROFILE = "workflow/profiles/slurm/config.v9+.yaml"
# The plugin asks for a job's state after 40 seconds at first, and later less often.
COMMAND = (
    "snakemake", "--workflow-profile", "workflow/profiles/slurm", "--slurm-init-seconds-before-status-checks", "3",
)  # fmt: skip
PATIENCE = 1500  # seconds; a busy machine is not a failure
NEEDED = os.environ.get("DIFFBENCH_NEEDS_SLURM")  # set in CI where the packages could be installed


def absent() -> str:
    """Why there is no Slurm here, or nothing."""
    if importlib.util.find_spec(PLUGIN) is None:
        return f"{PLUGIN.replace('_', '-')} not installed"
    return lacking()


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """A cluster that takes jobs."""
    if why := absent():
        (pytest.fail if NEEDED else pytest.skip)(why)
    with cluster(tmp_path_factory.mktemp("slurm")) as own:
        yield own


@pytest.fixture
def filled_in(slurm, monkeypatch):
    """Fills in the profile of a clone, and nothing else; commands find the cluster meanwhile."""
    for name, value in slurm.environment().items():
        monkeypatch.setenv(name, value)

    def fill(clone):
        text = (clone / PROFILE).read_text()
        assert text.count("=ACCOUNT\n") == text.count("=PARTITION\n") == 1
        text = text.replace("=ACCOUNT\n", f"={ACCOUNT}\n").replace("=PARTITION\n", f"={PARTITION}\n")
        (clone / PROFILE).write_text(text)
        return clone

    return fill


@pytest.fixture
def broken(finished, filled_in, tmp_path):
    """A clone with a finished run less one row and all that is made from it."""
    clone = filled_in(fresh(finished, tmp_path))
    for folder in [*(clone / "results/smoke").rglob("sd3"), clone / "reports/smoke"]:
        shutil.rmtree(folder)
    (clone / "results/smoke/manifest.json").unlink()
    return clone


@contextmanager
def started(clone, *options):
    """The command at work for a block; afterwards it has ended."""
    with (clone / "said").open("w") as log:
        call = [*COMMAND, *options, "smoke"]
        process = subprocess.Popen(call, cwd=clone, env=environment(clone), stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def until(ready, seconds=PATIENCE):
    """Wait for what ``ready`` finds, and give it."""
    end = time.monotonic() + seconds
    while not (found := ready()):
        assert time.monotonic() < end
        time.sleep(0.2)
    return found


def training(slurm, clone):
    """The Slurm job that trains the row, once it does."""
    log = clone / "logs/smoke/train/sd3-0.log"
    before = log.stat().st_mtime
    until(lambda: log.stat().st_mtime > before)
    return until(lambda: slurm.call("squeue", "-h", "-t", "R", "-o", "%i").split())[-1]


def whole(clone, finished):
    """Whether a clone's run is complete, current, and the bytes of one that nothing disturbed."""
    assert differing(steady(clone), steady(finished[0])) == []
    assert planned(clone) == {}


def states(slurm, after):
    """How the jobs submitted since ended, requeued ones with each of their ends."""
    return [job["State"].split()[0] for job in slurm.jobs() if int(job["JobID"]) > after]


def last(slurm):
    return max((int(job["JobID"]) for job in slurm.jobs()), default=0)


@pytest.mark.engines
@pytest.mark.slow
def test_the_same_bytes_in_one_job_for_a_row_and_seed(slurm, filled_in, finished, tmp_path):
    """With the profile's account and partition filled in and nothing else."""
    clone = filled_in(cloned(tmp_path / "clone"))
    with started(clone) as head:
        assert head.wait(PATIENCE) == 0, (clone / "said").read_text()[-3000:]
    jobs = slurm.jobs()
    assert [job["State"] for job in jobs] == ["COMPLETED"] * 6  # the scorer and five rows of one seed; 41 steps in all
    assert {(job["Account"], job["Partition"]) for job in jobs} == {(ACCOUNT, PARTITION)}
    for job in jobs:
        asked = dict(part.split("=") for part in job["ReqTRES"].split(","))
        assert asked["cpu"] == "1" and "gres/gpu" not in asked  # as one part needs, not their sum
        assert 2000 <= int(asked["mem"].removesuffix("M")) <= 4000
        assert job["Timelimit"] < "01:00:00"
    whole(clone, finished)


@pytest.mark.engines
@pytest.mark.slow
def test_a_cancelled_job_is_submitted_again(slurm, broken, finished):
    before = last(slurm)
    with started(broken) as head:
        slurm.call("scancel", training(slurm, broken))
        assert head.wait(PATIENCE) == 0, (broken / "said").read_text()[-3000:]
    assert states(slurm, before) == ["CANCELLED", "COMPLETED"]
    whole(broken, finished)


@pytest.mark.engines
@pytest.mark.slow
def test_a_node_that_dies_and_comes_back(slurm, broken, finished):
    """Slurm starts its job again by itself."""
    before = last(slurm)
    with started(broken) as head:
        training(slurm, broken)
        slurm.kill_node()
        until(lambda: slurm.call("sinfo", "-h", "-o", "%t").strip().startswith("down"))
        slurm.start_node()
        assert head.wait(PATIENCE) == 0, (broken / "said").read_text()[-3000:]
    assert states(slurm, before)[-1] == "COMPLETED" and len(states(slurm, before)) > 1
    whole(broken, finished)


@pytest.mark.engines
@pytest.mark.slow
def test_the_same_command_goes_on_after_the_head_was_killed(slurm, broken, finished):
    """Its Slurm job knows nothing of that and works on beside the new one."""
    before = last(slurm)
    with started(broken) as head:
        training(slurm, broken)
        head.send_signal(signal.SIGKILL)
        head.wait()
    with started(broken) as head:
        assert head.wait(PATIENCE) == 0, (broken / "said").read_text()[-3000:]
    assert "COMPLETED" in states(slurm, before)
    whole(broken, finished)


@pytest.mark.engines
@pytest.mark.slow
def test_a_run_on_cuda_asks_for_one_gpu(slurm, filled_in, finished, tmp_path):
    """Where there is none the job fails, and the command with it; what it asked for is in the accounts."""
    clone = filled_in(fresh(finished, tmp_path))
    preset = clone / "workflow/presets/smoke.yaml"
    preset.write_text(preset.read_text().replace("device: cpu", "device: cuda"))
    before = last(slurm)
    with started(clone, "--retries", "0", "--until", "classifier") as head:
        head.wait(PATIENCE)
    (job,) = [job for job in slurm.jobs() if int(job["JobID"]) > before]
    assert "gres/gpu=1" in job["ReqTRES"].split(",")


def test_every_job_for_the_scheduler_says_what_it_needs():
    """A rule that runs on a node declares memory, minutes and GPUs; the profile has a group for each of a run's."""
    local = set(
        re.search(r"localrules:\n((?:    \w+,\n)+)", (ROOT / "Snakefile").read_text())[1].replace(",", "").split()
    )
    profile = yaml.safe_load((ROOT / PROFILE).read_text())
    grouped = {entry.split("=")[0] for entry in profile["groups"]}
    named = set()
    for path in (ROOT / "workflow/rules").glob("*.smk"):
        for rule in re.split(r"(?m)^rule ", path.read_text())[1:]:
            name = rule.split(":")[0]
            if name in local or "localrule: True" in rule:
                continue
            named.add(name)
            for line in ("gpu=gpus,", "mem_mb=megabytes,", f'runtime=minutes("{name}"),', "threads: threads_of"):
                assert line in rule, (name, line)
    assert named - grouped == {"tune"} and grouped < named
    assert "set-resources" not in profile


@pytest.mark.engines
def test_what_is_asked_for_reruns_nothing(finished):
    """Memory and minutes are no part of a result."""
    other = ("--set-resources", "train:mem_mb=1", "train:runtime=1", "evaluate:mem_mb=1")
    output = run("snakemake", "--cores", "1", "-n", *other, "smoke", cwd=finished[0])
    assert "Nothing to be done" in output


def test_nothing_is_limited_on_one_machine():
    """A pool of a resource limits jobs; the shipped profile has one for the GPU alone."""
    default = yaml.safe_load((ROOT / "profiles/default/config.v9+.yaml").read_text())
    assert [entry.split("=")[0] for entry in default["resources"]] == ["gpu"]
    assert not {"default-resources", "set-resources", "groups"} & set(default)
