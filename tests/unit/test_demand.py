"""What jobs ask a scheduler for lies above what they took where they were measured, and follows from the params."""

from dataclasses import replace

import pytest

from diffbench import design, runs
from diffbench.config import presets
from diffbench.pipeline import demand

# The reference run of mnist-small on two cores: core-seconds of a stage and its jobs (benchmarks/README.md).
MEASURED = {
    "train": (3823, 24),
    "sample": (5084, 72),
    "convergence": (850, 24),
    "evaluate": (461, 24),
    "probe": (312, 24),
}
HELD = 1747  # MB, the most that one of its jobs held
SNAKEMAKES = 3 * 690  # MB around a stage in a Slurm job of several, as resident


def row(params):
    return {"paradigm": next(iter(params.paradigms)), "seed": str(params.seeds[0])}


def asked(params, stage, cuda=False, **options):
    """Minutes of a job of a stage, or of each job of sampling together."""
    if stage == "tune":
        return demand.minutes(params, stage, cuda, paradigm=next(iter(params.paradigms)), **options)
    if stage in ("classifier", "reference"):
        return demand.minutes(params, stage, cuda, **options)
    if stage != "sample":
        return demand.minutes(params, stage, cuda, **row(params), **options)
    steps = design.step_values(params, row(params)["paradigm"])
    return sum(demand.minutes(params, stage, cuda, steps=value, **row(params), **options) for value in steps)


@pytest.mark.parametrize("stage", MEASURED)
def test_twice_the_measured_time_and_not_hours(stage):
    seconds, jobs = MEASURED[stage]
    of_a_row = seconds / jobs * (3 if stage == "sample" else 1)  # 72 jobs of 24 rows and seeds
    minutes = asked(runs.load("mnist-small"), stage)
    assert 2 * of_a_row / 60 <= minutes <= 90


def test_memory_holds_the_largest_job_and_the_snakemakes_around_it():
    assert HELD + SNAKEMAKES < demand.memory_mb(runs.load("mnist-small"), cuda=False) < 8000


@pytest.mark.parametrize("name", presets.preset_names())
@pytest.mark.parametrize("stage", demand.EVALUATIONS)
def test_every_preset_and_stage_asks_for_something(name, stage):
    params = runs.load(name)
    once = asked(params, stage, params.compute.device == "cuda")
    assert 0 < once < 24 * 60
    assert asked(params, stage, params.compute.device == "cuda", attempt=2) == 2 * once


def test_more_is_asked_for_more_work():
    params = runs.load("mnist-small")
    longer = replace(params, training=replace(params.training, images=10 * params.training.images))
    assert asked(longer, "train") > 5 * asked(params, "train")
    wider = replace(params, sampling=replace(params.sampling, batch_size=10 * params.sampling.batch_size))
    assert demand.memory_mb(wider, cuda=False) > 2 * demand.memory_mb(params, cuda=False)
    assert demand.memory_mb(wider, cuda=True) == demand.memory_mb(params, cuda=True)  # batches lie on the GPU there
