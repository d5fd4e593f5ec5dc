"""Every target on every path gives back x0 and eps."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffbench.diffusion.denoiser import clamp
from diffbench.diffusion.paths import PATHS, DifferentiablePath
from diffbench.diffusion.targets import TARGETS, Prediction, recover, target

DEFINED = [
    (kind, name)
    for name in PATHS
    for kind in TARGETS
    if name != "one-level"  # nothing between data and noise
    if kind != "velocity" or isinstance(PATHS[name](), DifferentiablePath)
]


def draws(seed: int, count: int = 4):
    generator = torch.Generator().manual_seed(seed)
    x0, eps = torch.randn(2, count, 1, 4, 4, dtype=torch.float64, generator=generator)
    return x0, eps


@pytest.mark.parametrize(("kind", "name"), DEFINED)
@given(seed=st.integers(0, 2**32), level=st.integers(1, 999))
@settings(max_examples=25)
def test_recover_inverts_target(kind, name, seed, level):
    path, (x0, eps) = PATHS[name](), draws(seed)
    t = torch.full((4,), level / 1000, dtype=torch.float64)
    x_t = path.alpha(t)[:, None, None, None] * x0 + path.sigma(t)[:, None, None, None] * eps
    found = recover(kind, path, target(kind, path, x0, eps, t), x_t, t)
    torch.testing.assert_close(found, Prediction(x0, eps), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", PATHS)
def test_targets_are_what_their_papers_write(name):
    path, (x0, eps) = PATHS[name](), draws(1)
    t = torch.full((4,), 0.3, dtype=torch.float64)
    alpha, sigma = path.alpha(t)[0], path.sigma(t)[0]
    assert torch.equal(target("eps", path, x0, eps, t), eps)
    assert torch.equal(target("x0", path, x0, eps, t), x0)
    torch.testing.assert_close(target("v", path, x0, eps, t), alpha * eps - sigma * x0)
    if name == "linear":
        torch.testing.assert_close(target("velocity", path, x0, eps, t), eps - x0)


def test_velocity_points_from_data_to_noise():
    """SD3's sign: z_s = z_t + (s - t) v with v = eps - x0; the article's is the opposite."""
    path, (x0, eps) = PATHS["linear"](), draws(2)
    t, s = torch.tensor(0.7, dtype=torch.float64), torch.tensor(0.2, dtype=torch.float64)
    x_t, x_s = (path.alpha(r) * x0 + path.sigma(r) * eps for r in (t, s))
    torch.testing.assert_close(x_t + (s - t) * target("velocity", path, x0, eps, t), x_s)


@pytest.mark.parametrize(("kind", "name"), DEFINED)
def test_pure_noise_is_read_where_it_can_be(kind, name):
    """At t = 1 every registered combination is finite, but eps where no signal is left."""
    path, (x0, eps) = PATHS[name](), draws(3)
    t = torch.ones(4, dtype=torch.float64)
    x_t = path.alpha(t)[:, None, None, None] * x0 + path.sigma(t)[:, None, None, None] * eps
    found = recover(kind, path, target(kind, path, x0, eps, t), x_t, t)
    assert torch.isfinite(found.x0).all() == (not (kind == "eps" and float(path.alpha(t[0])) == 0))


def test_clamp_keeps_the_pair_consistent():
    path, (x0, eps) = PATHS["vp-linear"](), draws(4)
    t = torch.tensor(0.5, dtype=torch.float64)
    x_t = path.alpha(t) * 2 * x0 + path.sigma(t) * eps
    clamped = clamp(Prediction(2 * x0, eps), path, x_t, t)
    assert clamped.x0.abs().max() <= 1 < (2 * x0).abs().max()
    torch.testing.assert_close(path.alpha(t) * clamped.x0 + path.sigma(t) * clamped.eps, x_t)
    inside = clamp(Prediction(x0 / 10, eps), path, path.alpha(t) * x0 / 10 + path.sigma(t) * eps, t)
    torch.testing.assert_close(inside, Prediction(x0 / 10, eps))
