"""Second-order samplers, spacings, schedules and guidance variants against closed forms and other libraries."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler
from diffusers.schedulers.scheduling_ddim import rescale_zero_terminal_snr
from test_guidance import NULL, batch, make
from test_samplers import BETAS, SHAPE, denoiser, exact, gaussian, network, start, stream

from diffbench.diffusion.guidance import Guided, rescale
from diffbench.diffusion.paths import PATHS, Path, zero_terminal_snr
from diffbench.diffusion.samplers import SAMPLERS, ancestral, ddim, ddim_article, dpmpp_2m, heun
from diffbench.diffusion.targets import Prediction
from diffbench.diffusion.times import leading, trailing


def smooth(name: str):
    """A path whose log-SNR is smooth between levels, so that an order can be seen: the table rounds times."""
    if name == "linear":
        return PATHS["linear"]()

    class Cosine(Path):  # without derivatives, so solved in x / alpha
        def alpha(self, t):
            return torch.cos(t * math.pi / 2)

        def sigma(self, t):
            return torch.sin(t * math.pi / 2)

        def time_at(self, log_snr):
            return torch.atan(torch.exp(-log_snr / 2)) * 2 / math.pi

    return Cosine()


@pytest.mark.parametrize("name", ["linear", "vp"])
@pytest.mark.parametrize(("sampler", "order"), [("ddim", 1), ("euler", 1), ("heun", 2), ("dpmpp-2m", 2)])
def test_orders_on_the_analytic_gaussian(sampler, order, name):
    path, x = smooth(name), start()
    target = exact(path, x, torch.tensor(0.98, dtype=torch.float64), torch.tensor(0.02, dtype=torch.float64), 0.4, 0.5)
    errors = []
    for steps in (80, 160, 320):
        ts = torch.linspace(0.98, 0.02, steps + 1, dtype=torch.float64)
        errors.append(float((SAMPLERS[sampler](gaussian(path, 0.4, 0.5), path, x, ts) - target).abs().max()))
    assert [math.log2(coarse / fine) for coarse, fine in pairwise(errors)] == pytest.approx([order] * 2, abs=0.15)


@pytest.mark.parametrize("steps", [1, 2, 5, 20])
@pytest.mark.parametrize("name", BETAS)
def test_heun_is_that_of_edm(name, steps):
    """EDM's algorithm 1 in the variance-exploding coordinates of k-diffusion: x / alpha against sigma / alpha."""
    path, ts = PATHS[name](), trailing(steps, 1000)
    level = [float(path.sigma(t) / path.alpha(t)) for t in ts]
    denoise = denoiser("eps", path)
    y = start() / float(path.alpha(ts[0]))
    for i, (t, s) in enumerate(pairwise(ts)):
        d = (y - denoise(y * path.alpha(t), t).x0) / level[i]
        ahead = y + d * (level[i + 1] - level[i])
        if level[i + 1] > 0:
            d = (d + (ahead - denoise(ahead * path.alpha(s), s).x0) / level[i + 1]) / 2
        y = y + d * (level[i + 1] - level[i])
    torch.testing.assert_close(heun(denoise, path, start(), ts), y, rtol=1e-7, atol=1e-7)


def test_heun_on_the_linear_path_is_the_trapezium_in_velocity():
    path, ts = PATHS["linear"](), trailing(7, None)
    x = start()
    for i, (t, s) in enumerate(pairwise(ts)):
        first = network(x, t)
        ahead = x + (s - t) * first
        x = ahead if i == 6 else x + (s - t) * (first + network(ahead, s)) / 2
    torch.testing.assert_close(heun(denoiser("velocity", path), path, start(), ts), x)


@pytest.mark.parametrize("steps", [1, 2, 10, 50])
@pytest.mark.parametrize("name", BETAS)
@pytest.mark.parametrize("kind", ["eps", "v"])
def test_2m_is_that_of_diffusers(name, steps, kind):
    schedule, first, last = BETAS[name]
    theirs = DPMSolverMultistepScheduler(
        beta_schedule=schedule, beta_start=first, beta_end=last, timestep_spacing="trailing", final_sigmas_type="zero",
        prediction_type={"eps": "epsilon", "v": "v_prediction"}[kind], lower_order_final=False,
    )  # fmt: skip
    theirs.set_timesteps(steps)
    path, ts = PATHS[name](), trailing(steps, 1000)
    theirs.sigmas = path.sigma(ts) / path.alpha(ts)  # theirs are float32
    x = start()
    for i in theirs.timesteps:
        x = theirs.step(network(x, (i + 1) / 1000.0), i, x).prev_sample
    torch.testing.assert_close(dpmpp_2m(denoiser(kind, path), path, start(), ts), x.double(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sampler", ["heun", "dpmpp-2m", "euler", "ddim"])
@pytest.mark.parametrize(("name", "kind"), [("linear", "velocity"), ("vp-scaled-linear-ztsnr", "v"), ("linear", "x0")])
def test_a_start_without_signal_is_finite(sampler, name, kind):
    path = PATHS[name]()
    assert float(path.alpha(torch.ones((), dtype=torch.float64))) == 0
    for steps in (1, 2, 9):
        assert torch.isfinite(
            SAMPLERS[sampler](denoiser(kind, path), path, start(), trailing(steps, path.levels))
        ).all()


@pytest.mark.parametrize("sampler", ["heun", "dpmpp-2m", "ancestral"])
def test_one_step_of_every_sampler_is_the_estimate_of_x0(sampler):
    path, ts = PATHS["vp-linear"](), trailing(1, 1000)
    out = SAMPLERS[sampler](denoiser("v", path, clip=True), path, start(), ts, stream(0))
    torch.testing.assert_close(out, denoiser("v", path, clip=True)(start(), ts[0]).x0)


def test_the_respaced_ancestral_sampler_at_every_level_is_the_full_one():
    """eq. 6 and 7 of arXiv:2006.11239 written in the betas, against the respaced form, both variances, in float32."""
    beta = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    abar = torch.cumprod(1 - beta, 0)
    before = torch.cat([abar.new_ones(1), abar[:-1]])
    path = PATHS["vp-linear"]()
    for variance, spread in (("large", beta), ("small", beta * (1 - before) / (1 - abar))):
        x, draw = start().float(), stream(2)
        for i in reversed(range(1000)):
            x0 = denoiser("eps", path, clip=True)(x, torch.tensor((i + 1) / 1000, dtype=torch.float64)).x0
            x = (
                before[i].sqrt() * beta[i] / (1 - abar[i]) * x0
                + (1 - beta[i]).sqrt() * (1 - before[i]) / (1 - abar[i]) * x
            )
            x = (x + spread[i].sqrt() * draw(i) if i else x).float()
        same = stream(2)
        denoise, ts = denoiser("eps", path, clip=True), trailing(1000, 1000)
        ours = ancestral(denoise, path, start().float(), ts, lambda i, same=same: same(i).float(), variance)
        torch.testing.assert_close(ours.float(), x, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("eta", [0.3, 1.0])
def test_ddim_with_eta_is_that_of_diffusers(eta):
    scheduler = DDIMScheduler(beta_schedule="linear", beta_end=0.02, timestep_spacing="trailing", clip_sample=False)
    scheduler.set_timesteps(20)
    scheduler.alphas_cumprod = torch.cumprod(1 - scheduler.betas.double(), 0)
    x, generator = start(), torch.Generator().manual_seed(4)
    for i in scheduler.timesteps:
        noise = torch.randn(SHAPE, dtype=torch.float64, generator=generator) if i > 49 else torch.zeros_like(x)
        x = scheduler.step(network(x, (i + 1) / 1000.0), i, x, eta=eta, variance_noise=noise).prev_sample
    path = PATHS["vp-linear"]()
    ours = ddim(denoiser("eps", path), path, start(), trailing(20, 1000), stream(4), eta=eta)
    torch.testing.assert_close(ours, x, rtol=1e-4, atol=1e-5)


def two_modes(path):
    """The exact denoiser of 15% at -1 and 85% at +1, spread 0.05."""

    def denoise(x, t):
        alpha, sigma = path.alpha(t), path.sigma(t)
        total = alpha**2 * 0.05**2 + sigma**2
        modes = torch.tensor([-1.0, 1.0], dtype=torch.float64)
        weight = torch.softmax(
            torch.tensor([0.15, 0.85], dtype=torch.float64).log() - (x[..., None] - alpha * modes) ** 2 / (2 * total),
            -1,
        )
        each = modes + alpha * 0.05**2 / total * (x[..., None] - alpha * modes)
        x0 = (weight * each).sum(-1)
        return Prediction(x0, (x - alpha * x0) / sigma)

    return denoise


def test_the_articles_update_collapses_under_an_exact_denoiser():
    """DDIM keeps the two modes' shares; the printed update loses the rarer one or the scale, whatever dt means."""
    path = PATHS["vp-linear"]()
    x = torch.randn(4000, 1, 1, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    real = ddim(two_modes(path), path, x, trailing(50, 1000))
    assert float((real < 0).double().mean()) == pytest.approx(0.15, abs=0.02) and float(real.std()) > 0.6
    for reading, steps in (("ratio", 50), ("beta", 1000)):
        out = ddim_article(two_modes(path), path, x, trailing(steps, 1000), reading=reading)
        assert float((out < 0).double().mean()) == 0 and float(out.std()) < 0.05, "every sample in one place"
    out = ddim_article(two_modes(path), path, x, trailing(50, 1000), reading="step")
    near = ((out - 1).abs() < 0.3) | ((out + 1).abs() < 0.3)
    assert float(near.double().mean()) < 0.7, "a third of the samples or more lies between or beyond the modes"


@pytest.mark.parametrize("steps", [1, 7, 10, 50, 1000])
def test_leading_is_that_of_diffusers(steps):
    scheduler = DDIMScheduler(timestep_spacing="leading")
    scheduler.set_timesteps(steps)
    theirs = torch.cat([(scheduler.timesteps + 1).double() / 1000, torch.zeros(1, dtype=torch.float64)])
    torch.testing.assert_close(leading(steps, 1000), theirs)
    with pytest.raises(ValueError):
        leading(1001, 1000)


def test_zero_terminal_snr_is_that_of_diffusers():
    beta = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    torch.testing.assert_close(zero_terminal_snr(beta), rescale_zero_terminal_snr(beta), rtol=1e-6, atol=1e-9)
    path = PATHS["vp-scaled-linear-ztsnr"]()
    ends = torch.tensor([1e-3, 1.0], dtype=torch.float64)
    assert path.alpha(ends)[1] == 0 and path.sigma(ends)[1] == 1
    torch.testing.assert_close(path.alpha(ends)[0], PATHS["vp-scaled-linear"]().alpha(ends)[0])


@pytest.mark.parametrize(
    ("name", "spacing", "shift"),
    [
        ("vp-linear", trailing, 0.13), ("vp-linear", leading, 0.34),
        ("vp-scaled-linear", trailing, 1.42), ("vp-scaled-linear", leading, 2.5),
        ("vp-scaled-linear-ztsnr", trailing, 0.0),
    ],
)  # fmt: skip
def test_the_signal_a_start_from_pure_noise_leaves_out(name, spacing, shift):
    """alpha at the first of ten steps times MNIST's mean of -0.739, in standard errors of a mean of 28 x 28 pixels."""
    first = PATHS[name]().alpha(spacing(10, 1000)[0])
    assert 28 * 0.739 * float(first) == pytest.approx(shift, rel=0.02, abs=0.005)


@pytest.mark.parametrize("spacing", [trailing, leading])
@pytest.mark.parametrize("name", ["vp-linear", "vp-scaled-linear", "vp-scaled-linear-ztsnr"])
def test_the_brightness_bias_of_a_start_from_pure_noise(name, spacing):
    """Images as bright as MNIST's under an exact denoiser: too bright by what the start leaves out, and only by that.

    A Gaussian's flow keeps the standard score, so a start with mean 0 where alpha m belongs ends at
    ``m - s alpha m / sqrt(alpha^2 s^2 + sigma^2)``: 0.015 of the grey scale for trailing steps on Stable Diffusion's
    schedule, 0.027 for ten leading ones, 0 where the terminal SNR is zero and the first level is visited.
    """
    mean, spread, path = -0.739, 0.616, PATHS[name]()
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(200_000, 1, 1, 1, dtype=torch.float64, generator=generator)
    x = (x - x.mean()) / x.std()
    ts = torch.cat([spacing(10, 1000)[:1], trailing(1000, 1000)[trailing(1000, 1000) < spacing(10, 1000)[0]]])
    bias = float(ddim(gaussian(path, mean, spread), path, x, ts).mean()) - mean
    alpha, sigma = float(path.alpha(ts[0])), float(path.sigma(ts[0]))
    assert bias == pytest.approx(-spread * alpha * mean / math.hypot(alpha * spread, sigma), rel=0.03, abs=2e-4)
    wanted = {("vp-scaled-linear", trailing): 0.0155, ("vp-scaled-linear", leading): 0.027}
    if (name, spacing) in wanted:
        assert bias / 2 == pytest.approx(wanted[name, spacing], rel=0.05)
    if name.endswith("ztsnr") and spacing is trailing:
        assert abs(bias) < 2e-4


@pytest.mark.parametrize("name", PATHS)
def test_time_at_inverts_the_log_snr(name):
    path = PATHS[name]()
    wanted = torch.linspace(-9, 9, 41, dtype=torch.float64)
    t = path.time_at(wanted)
    if path.levels is None:
        nearest = wanted.clamp(*path.log_snr_range())
        torch.testing.assert_close(2 * (path.alpha(t) / path.sigma(t)).log(), nearest)
        return
    levels = torch.arange(1, path.levels + 1, dtype=torch.float64) / path.levels
    table = 2 * (path.alpha(levels) / path.sigma(levels)).log()
    nearest = levels[(table - wanted[:, None]).abs().argmin(dim=1)]
    assert torch.equal(t, nearest), "the nearest level of all"


@pytest.mark.parametrize("share", [0.3, 0.7, 1.0])
def test_rescaling_is_that_of_the_paper(share):
    """Image by image as arXiv:2305.08891 prints it, eq. 15 and 16."""
    generator = torch.Generator().manual_seed(0)
    cond = torch.randn(4, 1, 8, 8, generator=generator)
    out = 3 * torch.randn(4, 1, 8, 8, generator=generator) + 1
    expected = []
    for guided, positive in zip(out.numpy(), cond.numpy(), strict=True):
        rescaled = guided * (np.std(positive, ddof=1) / np.std(guided, ddof=1))
        expected.append(share * rescaled + (1 - share) * guided)
    np.testing.assert_allclose(rescale(out, cond, share).numpy(), np.stack(expected), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(rescale(cond, cond, share), cond)


def test_an_interval_guides_inside_and_pays_only_there():
    net, denoiser_ = make()
    x, prompt, _ = batch()
    ts = trailing(20, 1000)
    log_snr = 2 * (denoiser_.path.alpha(ts[:-1]) / denoiser_.path.sigma(ts[:-1])).log()
    inside = int(((log_snr >= -2) & (log_snr <= 4)).sum())
    guided = Guided(denoiser_, prompt, NULL, 4.0, interval=(-2, 4))
    ddim(guided, denoiser_.path, x, ts)
    assert 0 < inside < 20 and guided.nfe == 20 + inside == net.images / len(x)
    everywhere = Guided(denoiser_, prompt, NULL, 4.0)
    for t, level in zip(ts[:-1], log_snr, strict=True):
        plain = Guided(denoiser_, prompt, NULL, 1.0).output(x, t)
        expected = everywhere.output(x, t) if -2 <= level <= 4 else plain
        assert torch.equal(guided.output(x, t), expected)


def test_rescaled_guidance_keeps_the_conditional_spread():
    _, denoiser_ = make(kind="v")
    x, prompt, t = batch()
    cond = denoiser_.output(x, t, prompt)
    out = Guided(denoiser_, prompt, NULL, 7.5, share=1.0).output(x, t)
    torch.testing.assert_close(out.std(dim=(1, 2, 3)), cond.std(dim=(1, 2, 3)))
