"""Samplers against identities, diffusers' schedulers, and the analytic Gaussian."""

import math
from itertools import pairwise

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, FlowMatchEulerDiscreteScheduler

from diffbench.diffusion.denoiser import clamp
from diffbench.diffusion.paths import PATHS
from diffbench.diffusion.samplers import ancestral, ddim, euler
from diffbench.diffusion.targets import Prediction, recover
from diffbench.diffusion.times import trailing

SHAPE = (3, 1, 4, 4)
BETAS = {"vp-linear": ("linear", 1e-4, 0.02), "vp-scaled-linear": ("scaled_linear", 0.00085, 0.012)}


def network(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """Something smooth that depends on both arguments; t in [0, 1]."""
    return 0.7 * torch.tanh(x + 0.3) + 0.2 * torch.sin(5 * t) + 0.1 * x.flip(-1)


def denoiser(kind: str, path, clip: bool = False):
    def denoise(x, t):
        prediction = recover(kind, path, network(x, t), x, t)
        return clamp(prediction, path, x, t) if clip else prediction

    return denoise


def start(seed: int = 0) -> torch.Tensor:
    return torch.randn(SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def stream(seed: int):
    generator = torch.Generator().manual_seed(seed)
    return lambda _: torch.randn(SHAPE, dtype=torch.float64, generator=generator)


def theirs(scheduler, steps: int, seed: int | None = None) -> torch.Tensor:
    """diffusers' loop: its step i is our time (i + 1) / 1000."""
    scheduler.set_timesteps(steps)
    x, generator = start(), torch.Generator().manual_seed(seed or 0)
    scheduler.alphas_cumprod = torch.cumprod(1 - scheduler.betas.double(), 0)
    for i in scheduler.timesteps:
        extra = {"generator": generator} if seed is not None else {}
        x = scheduler.step(network(x, (i + 1) / 1000.0), i, x, **extra).prev_sample
    return x


@pytest.mark.parametrize("name", BETAS)
@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("steps", [10, 50])
@pytest.mark.parametrize("kind", ["eps", "v"])
def test_ddim_is_that_of_diffusers(name, clip, steps, kind):
    schedule, first, last = BETAS[name]
    scheduler = DDIMScheduler(
        beta_schedule=schedule,
        beta_start=first,
        beta_end=last,
        timestep_spacing="trailing",
        clip_sample=clip,
        prediction_type={"eps": "epsilon", "v": "v_prediction"}[kind],
    )
    path = PATHS[name]()
    # With clipping diffusers keeps the old eps unless told to re-derive it, which is our rule.
    scheduler.set_timesteps(steps)
    scheduler.alphas_cumprod = torch.cumprod(1 - scheduler.betas.double(), 0)
    x = start()
    for i in scheduler.timesteps:
        x = scheduler.step(network(x, (i + 1) / 1000.0), i, x, use_clipped_model_output=clip).prev_sample
    ours = ddim(denoiser(kind, path, clip), path, start(), trailing(steps, 1000))
    torch.testing.assert_close(ours, x, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("steps", "variance"), [(1000, "fixed_large"), (50, "fixed_small"), (10, "fixed_small")])
def test_ancestral_is_ddpm_of_diffusers(steps, variance):
    scheduler = DDPMScheduler(timestep_spacing="trailing", variance_type=variance, clip_sample=True)
    path = PATHS["vp-linear"]()
    ours = ancestral(denoiser("eps", path, clip=True), path, start(), trailing(steps, 1000), stream(7))
    torch.testing.assert_close(ours, theirs(scheduler, steps, seed=7), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("steps", [1, 4, 10, 28])
def test_euler_on_the_linear_path_is_flow_matching_of_diffusers(steps):
    scheduler = FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(sigmas=[1 - i / steps for i in range(steps)])
    x = start()
    for i in scheduler.timesteps:
        x = scheduler.step(network(x, i.double() / 1000), i, x).prev_sample.double()
    path = PATHS["linear"]()
    ours = euler(denoiser("velocity", path), path, start(), trailing(steps, None))
    torch.testing.assert_close(ours, x, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("steps", [1, 7, 50])
@pytest.mark.parametrize(("name", "kind"), [("linear", "velocity"), ("vp-linear", "v"), ("vp-scaled-linear", "eps")])
def test_euler_is_ddim(name, kind, steps):
    """On the linear path in velocity (arXiv:2403.03206), and on VP in d(x / alpha) / d(sigma / alpha) = eps."""
    path = PATHS[name]()
    ts = trailing(steps, path.levels)
    for clip in (False, True):
        denoise = denoiser(kind, path, clip)
        torch.testing.assert_close(euler(denoise, path, start(), ts), ddim(denoise, path, start(), ts))


def test_ddim_with_all_noise_on_adjacent_steps_is_the_small_variance_posterior():
    path = PATHS["vp-linear"]()
    ts, denoise = trailing(1000, 1000), denoiser("eps", path, clip=True)
    ours = ddim(denoise, path, start(), ts, stream(3), eta=1.0)
    posterior = ancestral(denoise, path, start(), ts, stream(3), variance="small")
    torch.testing.assert_close(ours, posterior, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("steps", [4, 20])
def test_ddim_with_all_noise_is_the_respaced_posterior(steps):
    path = PATHS["vp-linear"]()
    ts, denoise = trailing(steps, 1000), denoiser("eps", path)
    ours = ddim(denoise, path, start(), ts, stream(3), eta=1.0)
    torch.testing.assert_close(ours, ancestral(denoise, path, start(), ts, stream(3)), rtol=1e-8, atol=1e-8)


def test_posterior_of_ddpm_as_the_paper_writes_it():
    """One step at t = 0.4 against arXiv:2006.11239, eq. 6 and 7, from the betas."""
    beta = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    abar = torch.cumprod(1 - beta, 0)
    i, path = 399, PATHS["vp-linear"]()
    x, x0 = start(), torch.tanh(start(1))
    mean = (
        abar[i - 1].sqrt() * beta[i] / (1 - abar[i]) * x0 + (1 - beta[i]).sqrt() * (1 - abar[i - 1]) / (1 - abar[i]) * x
    )
    ts = torch.tensor([0.4, 0.399, 0.398], dtype=torch.float64)
    for variance, expected in (("large", beta[i]), ("small", beta[i] * (1 - abar[i - 1]) / (1 - abar[i]))):
        seen = []

        def denoise(x, t, seen=seen):
            seen.append(x)
            return Prediction(x0, x0)

        ancestral(denoise, path, x, ts, stream(5), variance=variance)
        torch.testing.assert_close(seen[1], mean + expected.sqrt() * stream(5)(0))


def test_variance_is_large_only_where_every_level_is_visited():
    path, ts = PATHS["vp-linear"](), trailing(1000, 1000)
    denoise = denoiser("eps", path, clip=True)
    for grid, variance in ((ts, "large"), (trailing(100, 1000), "small")):
        default = ancestral(denoise, path, start(), grid, stream(1))
        assert torch.equal(default, ancestral(denoise, path, start(), grid, stream(1), variance=variance))


def gaussian(path, mean: float, spread: float):
    """The exact denoiser of data N(mean, spread^2)."""

    def denoise(x, t):
        alpha, sigma = path.alpha(t), path.sigma(t)
        x0 = mean + alpha * spread**2 / (alpha**2 * spread**2 + sigma**2) * (x - alpha * mean)
        return Prediction(x0, (x - alpha * x0) / sigma)

    return denoise


def exact(path, x, t, s, mean: float, spread: float):
    """The probability-flow map of N(mean, spread^2) from t to s: a Gaussian's flow keeps its standard score."""
    scale = lambda r: (path.alpha(r) ** 2 * spread**2 + path.sigma(r) ** 2).sqrt()  # noqa: E731
    return path.alpha(s) * mean + scale(s) / scale(t) * (x - path.alpha(t) * mean)


@pytest.mark.parametrize("sampler", [ddim, euler])
def test_first_order_on_the_analytic_gaussian(sampler):
    path, x = PATHS["linear"](), start()
    ends = torch.tensor([0.98, 0.02], dtype=torch.float64)
    target = exact(path, x, *ends, mean=0.4, spread=0.5)
    errors = []
    for steps in (40, 80, 160):
        ts = torch.linspace(0.98, 0.02, steps + 1, dtype=torch.float64)
        errors.append(float((sampler(gaussian(path, 0.4, 0.5), path, x, ts) - target).abs().max()))
    orders = [math.log2(coarse / fine) for coarse, fine in pairwise(errors)]
    assert orders == pytest.approx([1.0, 1.0], abs=0.1)


def test_ancestral_samples_the_gaussian():
    path = PATHS["vp-linear"]()
    generator = torch.Generator().manual_seed(0)
    draw = lambda _: torch.randn(20_000, 1, 1, 1, dtype=torch.float64, generator=generator)  # noqa: E731
    x = ancestral(gaussian(path, 0.3, 0.5), path, draw(0), trailing(1000, 1000), draw)
    assert float(x.mean()) == pytest.approx(0.3, abs=0.02)
    assert float(x.std()) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("sampler", [ddim, euler, ancestral])
def test_inputs_are_left_alone_and_the_last_step_is_x0(sampler):
    path = PATHS["vp-linear"]()
    x, ts = start(), trailing(5, 1000)
    kept, seen = x.clone(), []

    def denoise(x, t):
        seen.append(denoiser("eps", path, clip=True)(x, t))
        return seen[-1]

    out = sampler(denoise, path, x, ts, stream(0))
    assert torch.equal(x, kept)
    torch.testing.assert_close(out, seen[-1].x0)


@pytest.mark.parametrize("sampler", [ddim, euler])
def test_deterministic_samplers_draw_nothing(sampler):
    path = PATHS["vp-linear"]()

    def refuse(_):
        raise AssertionError("noise was drawn")

    sampler(denoiser("eps", path), path, start(), trailing(10, 1000), refuse)
