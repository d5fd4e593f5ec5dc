"""Paths and times against diffusers' tables and the definitions."""

from itertools import pairwise

import pytest
import torch
from diffusers import DDIMScheduler
from hypothesis import given
from hypothesis import strategies as st

from diffbench.diffusion.paths import PATHS
from diffbench.diffusion.times import DENSITIES, sampling_times, trailing, training_times

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
    path = PATHS[name]()
    t = torch.linspace(0, 1, 1 + (path.levels or 1000), dtype=torch.float64)
    alpha, sigma = path.alpha(t), path.sigma(t)
    assert alpha[0] == 1 and sigma[0] == 0
    levels = slice(1, None) if name == "edm" else slice(None)  # its scale is that of noisy images, not of the data
    assert (alpha[levels].diff() < 0).all() and (sigma.diff() > 0).all()


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


@pytest.mark.parametrize("density", ["uniform@vp-linear", "logit-normal@linear", "uniform@vp-scaled-linear"])
@pytest.mark.parametrize("name", ["linear", "vp-linear", "vp-scaled-linear"])
def test_a_density_carried_over_by_log_snr_gives_one_histogram_on_every_path(density, name):
    """Shares in bins of log-SNR that every path has; a tabulated one moves a time to its nearest level."""
    u = (torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000
    rule, meant = density.split("@")
    edges = torch.linspace(-5, 5, 11, dtype=torch.float64)

    def shares(times, path):
        levels = path.log_snr(times)
        return torch.stack([((levels >= low) & (levels < high)).double().mean() for low, high in pairwise(edges)])

    found = shares(training_times(density, u, PATHS[name]()), PATHS[name]())
    wanted = shares(training_times(rule, u, PATHS[meant]()), PATHS[meant]())
    torch.testing.assert_close(found, wanted, rtol=0, atol=0.002)
    if name == meant:
        torch.testing.assert_close(training_times(density, u, PATHS[name]()), training_times(rule, u, PATHS[name]()))


def test_logit_normal_on_the_linear_path_is_normal_in_log_snr():
    """``log_snr = -2 logit(t)``, so N(0, 2^2): the tails of a schedule are cut at its ends."""
    u = (torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000
    path = PATHS["vp-linear"]()
    levels = path.log_snr(training_times("logit-normal@linear", u, path))
    assert float(levels.mean()) == pytest.approx(0, abs=0.01)
    assert float(levels.std()) == pytest.approx(2, rel=0.01)


@pytest.mark.parametrize("steps", [1, 2, 8, 20, 50])
@pytest.mark.parametrize("name", ["linear", "vp-linear"])
@pytest.mark.parametrize("meant", ["linear", "vp-linear"])
def test_times_carried_over_have_the_log_snr_of_those_they_come_from(steps, name, meant):
    path, source = PATHS[name](), PATHS[meant]()
    found = sampling_times(f"trailing@{meant}", steps, path)
    wanted = source.log_snr(trailing(steps, source.levels)[1:-1])
    assert found[0] == 1 and found[-1] == 0 and (found.diff() < 0).all()
    # Half the distance of two levels; of a schedule's cleanest ones that is 0.35 to 0.4.
    torch.testing.assert_close(path.log_snr(found[1:-1]), wanted, rtol=0, atol=0.4 if name != "linear" else 1e-9)


@pytest.mark.parametrize(
    ("name", "spacing", "steps"),
    [("vp-linear", "trailing@linear", 500), ("vp-scaled-linear", "trailing@vp-linear", 20)],
    ids=["levels too coarse", "a schedule that ends with more signal"],
)
def test_more_steps_than_a_path_has_noise_levels_for_are_refused(name, spacing, steps):
    with pytest.raises(ValueError, match=f"{steps} steps of {spacing} on a path without as many noise levels"):
        sampling_times(spacing, steps, PATHS[name]())
