"""Paths and times against diffusers' tables and the definitions."""

import pytest
import torch
from diffusers import DDIMScheduler
from hypothesis import given
from hypothesis import strategies as st

from diffbench.diffusion.paths import PATHS
from diffbench.diffusion.times import DENSITIES, trailing, training_times

SCHEDULES = {"vp-linear": ("linear", 1e-4, 0.02), "vp-scaled-linear": ("scaled_linear", 0.00085, 0.012)}


@pytest.mark.parametrize("name", SCHEDULES)
def test_vp_tables_are_those_of_diffusers(name):
    schedule, first, last = SCHEDULES[name]
    theirs = DDIMScheduler(beta_schedule=schedule, beta_start=first, beta_end=last).alphas_cumprod.double()
    path, t = PATHS[name](), torch.arange(1, 1001, dtype=torch.float64) / 1000
    torch.testing.assert_close(path.alpha(t) ** 2, theirs, rtol=2e-5, atol=1e-9)
    torch.testing.assert_close(path.alpha(t) ** 2 + path.sigma(t) ** 2, torch.ones_like(t))


@pytest.mark.parametrize("name", PATHS)
def test_paths_start_at_the_data_and_lose_signal(name):
    path, t = PATHS[name](), torch.arange(0, 1001, dtype=torch.float64) / 1000
    alpha, sigma = path.alpha(t), path.sigma(t)
    assert alpha[0] == 1 and sigma[0] == 0
    assert (alpha.diff() < 0).all() and (sigma.diff() > 0).all()


def test_terminal_signal_of_the_schedules():
    one = torch.ones((), dtype=torch.float64)
    assert float(PATHS["vp-linear"]().alpha(one)) == pytest.approx(0.00635, abs=2e-5)
    assert float(PATHS["vp-scaled-linear"]().alpha(one)) == pytest.approx(0.0683, abs=2e-4)
    assert float(PATHS["linear"]().alpha(one)) == 0


def test_derivatives_of_the_linear_path():
    path, t = PATHS["linear"](), torch.linspace(0.1, 0.9, 9, dtype=torch.float64)
    h = 1e-6
    torch.testing.assert_close((path.alpha(t + h) - path.alpha(t - h)) / (2 * h), path.d_alpha(t))
    torch.testing.assert_close((path.sigma(t + h) - path.sigma(t - h)) / (2 * h), path.d_sigma(t))


@pytest.mark.parametrize("steps", [1, 2, 4, 5, 8, 10, 20, 50, 100, 1000])
def test_trailing_steps_are_those_of_diffusers(steps):
    scheduler = DDIMScheduler(timestep_spacing="trailing")
    scheduler.set_timesteps(steps)
    ours = (trailing(steps, 1000)[:-1] * 1000).round().long() - 1  # their step i is our time (i + 1) / 1000
    assert ours.tolist() == scheduler.timesteps.tolist()


@given(steps=st.integers(1, 1000), levels=st.sampled_from([None, 1000]))
def test_trailing_grids_fall_from_one_to_zero(steps, levels):
    ts = trailing(steps, levels)
    assert len(ts) == steps + 1 and ts[0] == 1 and ts[-1] == 0 and (ts.diff() < 0).all()


def test_more_steps_than_levels_are_refused():
    with pytest.raises(ValueError, match="1001 steps on a schedule of 1000"):
        trailing(1001, 1000)


def test_uniform_times_visit_every_level_equally():
    u = (torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000
    steps = (training_times("uniform", u, PATHS["vp-linear"]()) * 1000).round().long()
    assert steps.bincount(minlength=1001).tolist() == [0] + [100] * 1000


def test_logit_normal_times_have_normal_logits():
    u = (torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000
    logits = torch.logit(training_times("logit-normal", u, PATHS["linear"]()))
    assert float(logits.mean()) == pytest.approx(0, abs=1e-3)
    assert float(logits.std()) == pytest.approx(1, abs=1e-2)


@pytest.mark.parametrize("density", DENSITIES)
@pytest.mark.parametrize("name", ["linear", "vp-linear"])
def test_training_times_never_reach_the_data(density, name):
    u = torch.tensor([0.0, 1e-7, 0.5, 1 - 2**-24])
    t = training_times(density, u, PATHS[name]())
    assert (t > 0).all() and (t <= 1).all()
