"""The benchmarks run, count what they say they count, and miss a target aloud; no ratio is judged here."""

import importlib
import itertools
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT

from diffbench import design, runs
from diffbench.data.sources import image_side
from diffbench.errors import UserError
from diffbench.training import cost


@pytest.fixture
def benchmark(monkeypatch):
    """Import a benchmark as running it does; it may change directory, threads and affinity, which are put back."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.chdir(Path.cwd())
    threads, affinity = torch.get_num_threads(), os.sched_getaffinity(0)
    yield importlib.import_module
    torch.set_num_threads(threads)
    os.sched_setaffinity(0, affinity)


def test_the_guard_gives_every_ratio_as_table_and_json(benchmark, tmp_path, monkeypatch, capsys):
    guard, path = benchmark("guard"), tmp_path / "guard.json"
    own = guard.setting

    def few_images(preset):  # of the sizes of digits: diffusers has none as small as those of smoke
        params, where = own(preset)
        return replace(params, sampling=replace(params.sampling, images=20)), where

    monkeypatch.setattr(guard, "setting", few_images)
    code = guard.main(["--preset", "digits", "--rounds", "2", "--images", "200", "--json", str(path)])
    found = json.loads(path.read_text())
    names = [row["name"] for row in found["ratios"]]
    assert names == [
        *(f"{network}: {part}" for network in ("unet", "dit", "mmdit") for part in ("training step", "sampling")),
        "evaluation: features given",
        "evaluation: from images on",
    ]
    assert all(row["skipped"] or row["ratio"] > 0 for row in found["ratios"])
    assert code == int(not all(row["holds"] for row in found["ratios"]))
    printed = capsys.readouterr().out
    assert all(name in printed for name in names) and {"commit", "device", "torch"} <= set(found["circumstances"])


def test_a_missed_target_is_said_and_a_skipped_or_untargeted_one_is_not(benchmark, capsys):
    common = benchmark("common")
    slow = common.measured("slow", 2.0, [(1.0, 1.5), (1.0, 1.6), (1.0, 1.7)])
    assert slow.ratio == pytest.approx(1.6) and not slow.holds
    free, skipped = common.measured("free", None, [(1.0, 0.5)]), common.Ratio("absent", 2.0, skipped="not installed")
    assert free.holds and skipped.holds
    common.show({}, [slow, free, skipped])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if "MISSED" in line] == ["slow"]
    assert any("not installed" in line for line in lines)


def test_floors_count_what_the_networks_cost(benchmark, at_root):
    floors = benchmark("floors")
    params = runs.load("digits")
    for key in ("ddpm", "sd1", "dit", "sd3"):
        row = params.paradigms[key]
        forward, moved = floors.counted(row, image_side(params), 10, training=False)
        assert forward == 20 * cost.macs(row, image_side(params))
        both, more = floors.counted(row, image_side(params), 10, training=True)
        # Backward is two products for each one forward, less the one to the images.
        assert 2.5 * forward < both <= 3.01 * forward and more > 2 * moved


def test_a_plan_counts_steps_evaluations_and_cells(benchmark, at_root):
    floors = benchmark("floors")
    params = runs.load("digits")
    stages = floors.planned(params)
    seeds, sampling = len(params.seeds), params.sampling
    assert set(stages["train"].training_steps.values()) == {seeds * -(-params.training.images // 64)}
    cells = [design.all_cells(params, key, seed) for key in params.paradigms for seed in params.seeds]
    assert stages["evaluate"].cells == sum(map(len, cells))
    # SD3 has Euler on 2, 8 and 20 steps at scales 1 and 1.25, and on 8 also at 0, 2 and 7.5.
    images = 2 + 4 + 8 + 16 + 20 + 40 + 8 + 16 + 16
    assert stages["sample"].evaluations["sd3"] == seeds * (
        sampling.images * images + sampling.selection_images * (8 + 16)
    )


def test_the_full_run_follows_to_an_hour_of_an_h200(benchmark, at_root, capsys):
    """From DDPM to SD3, by what was timed there; starts and scoring are left out, which use the CPU beside the GPU."""
    floors = benchmark("floors")
    params = runs.load("mnist")
    every = floors.plan_measured(params)
    assert all(row["gpu"] == pytest.approx(sum(row[network] for network in floors.TIMED)) for row in every)
    later = {key for key, row in params.paradigms.items() if row.role == "after"}
    arms = {key: arms for key, arms in params.sampling.arms.items() if key not in later}
    native = {key: cell for key, cell in params.sampling.native.items() if key not in later}
    params = replace(
        params,
        paradigms={key: row for key, row in params.paradigms.items() if key not in later},
        sampling=replace(params.sampling, arms=arms, native=native),
    )
    rows = floors.plan_measured(params)
    assert len(later) == 4 and sum(row["gpu"] for row in rows) < sum(row["gpu"] for row in every)
    seconds = {row["stage"]: row["gpu"] for row in rows}
    assert min(seconds[name] for name in ("train", "sample", "convergence", "probe")) > 0
    assert sum(seconds.values()) <= 3600, seconds
    assert all(row["gpu"] == pytest.approx(sum(row[network] for network in floors.TIMED)) for row in rows)
    assert "train" in capsys.readouterr().out


def test_a_size_that_was_timed_takes_what_was_timed(benchmark, at_root):
    floors = benchmark("floors")
    params = runs.load("mnist")
    for key in ("sd1", "dit", "sd3"):
        row = params.paradigms[key]
        timed = floors.TIMED[row.network]
        seconds = floors.scaled(replace(row, size=timed.size), params)
        assert seconds.step * floors.TIMED_BATCH / params.training.batch_size == pytest.approx(timed.step)
        assert 5000 * seconds.image == pytest.approx(timed.evaluation)


def records(folder: Path, jobs: list[tuple[str, str, float, float]]) -> None:
    """Snakemake's records of jobs (rule, log, start, end), two files each, the first a little earlier."""
    metadata = folder / ".snakemake" / "metadata"
    metadata.mkdir(parents=True)
    for number, (rule, log, start, end) in enumerate(jobs):
        for part, early in enumerate((0.5, 0.0)):
            record = {"rule": rule, "log": [f"logs/run/{log}"], "starttime": start, "endtime": end - early}
            (metadata / f"{number}-{part}").write_text(json.dumps(record))


def test_overhead_accounts_for_every_slot_second(benchmark, tmp_path):
    overhead = benchmark("overhead")
    jobs = [("data", "data.log", 0, 10), ("train", "train/a-0.log", 11, 31), ("train", "train/a-1.log", 11, 29)]
    records(tmp_path, [*jobs, ("report", "report.log", 32, 36)])
    ratio, facts = overhead.measure(tmp_path, "run")
    totals = facts["totals"]
    assert totals == {
        "slots": 2, "wall": 36, "jobs": 52, "one job only": 14, "between jobs, planning and end": 6,
    }  # fmt: skip
    assert facts["overhead"] == pytest.approx(72 / 52 - 1) and not ratio.holds
    with pytest.raises(UserError, match="no records"):
        overhead.measure(tmp_path, "other")


def test_overhead_refuses_a_run_of_several_calls(benchmark, tmp_path):
    overhead = benchmark("overhead")
    records(tmp_path, [("data", "data.log", 0, 10), ("train", "train/a-0.log", 1000, 1010)])
    with pytest.raises(UserError, match="several calls"):
        overhead.measure(tmp_path, "run")


def test_the_benchmarks_name_no_module_that_is_not_there(benchmark):
    for path in sorted((ROOT / "benchmarks").glob("*.py")):
        benchmark(path.stem)
        assert sys.modules[path.stem].__doc__


def test_batches_times_every_size_of_every_network(benchmark, at_root, tmp_path, capsys):
    path = tmp_path / "batches.json"
    assert benchmark("batches").main(["--preset", "smoke", "--rounds", "1", "--json", str(path)]) == 0
    found = json.loads(path.read_text())["milliseconds"]
    assert list(found) == ["ddpm", "sd1", "dit", "sd3"] and capsys.readouterr().out.count(" ms") == 20
    assert all(list(row) == ["4", "7", "13", "25", "50"] and min(row.values()) > 0 for row in found.values())


def test_networks_of_several_seeds_say_the_same_together_as_apart(benchmark, at_root, tmp_path):
    path = tmp_path / "seeds.json"
    assert benchmark("seeds").main(["--preset", "smoke", "--rounds", "1", "--json", str(path)]) == 0
    found = json.loads(path.read_text())["ratios"]
    assert len(found) == 2 * 4 and all(row["ratio"] > 0 for row in found)
    notes = [row["note"] for row in found if row["note"]]
    assert len(notes) == 4 and all(float(part) < 1e-4 for note in notes for part in re.findall(r"\de[-+]\d+", note))


def test_the_best_pairing_is_that_of_every_permutation(benchmark):
    """Four images, all 24 pairings; within groups those that keep each noise in its own."""
    saved = benchmark("coupling").saved
    generator = np.random.default_rng(1)
    images, noise = generator.normal(size=(2, 4, 3))
    before = np.square(images - noise).sum()

    def best(allowed):
        orders = [order for order in itertools.permutations(range(4)) if allowed(order)]
        return min(np.square(images - noise[list(order)]).sum() for order in orders)

    groups = np.array([0, 1, 0, 1])
    assert saved(images, noise, np.zeros(4)) == pytest.approx(1 - best(lambda order: True) / before)
    within = best(lambda order: all(groups[i] == groups[k] for i, k in enumerate(order)))
    assert saved(images, noise, groups) == pytest.approx(1 - within / before)
    assert saved(images, noise, np.arange(4)) == pytest.approx(0)


@pytest.mark.parametrize("name", ["coupling", "curve", "memory", "overhead"])
def test_a_run_that_is_not_there_is_one_line(name, tmp_path):
    """Of a preset that has not been run; the exit code is not 0."""
    for folder in ("params.yaml", "workflow"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    command = [sys.executable, ROOT / f"benchmarks/{name}.py", "composition"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 2 and ended.stdout == ""
    assert re.fullmatch(r"error: [^\n]+\n", ended.stderr)
