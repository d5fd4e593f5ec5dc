"""What came after SD3: x-prediction, EDM, autoguidance, MeanFlow and drifting, by identities and by other code."""

import dataclasses
import gzip
import math
import os
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_guidance import NULL, batch, make

from diffbench import runs
from diffbench.design import ARMS, cells
from diffbench.diffusion import drift, mean_flow, objective
from diffbench.diffusion.denoiser import Denoiser
from diffbench.diffusion.guidance import Guided
from diffbench.diffusion.networks import NETWORKS
from diffbench.diffusion.objective import OBJECTIVES, Batch, noisy, weight
from diffbench.diffusion.paths import EDM, PATHS, SIGMA_DATA
from diffbench.diffusion.samplers import SAMPLERS
from diffbench.diffusion.targets import CLIP, Prediction, recover, target, target_and_loss
from diffbench.diffusion.times import sampling_times, training_times
from diffbench.stages.aggregate import arm_row
from diffbench.tables import store
from diffbench.tables.factors import _plain

DOUBLE = torch.float64


class Fixed(torch.nn.Module):
    """A network that says what it is told to, whatever it sees; it remembers the times."""

    two_times = True

    def __init__(self, out):
        super().__init__()
        self.out, self.seen = out, []

    def forward(self, x, t, prompt=None, end=None):
        self.seen.append((t, end))
        return self.out.expand_as(x)


def draws(seed: int = 0, count: int = 4, low: float = 0.1):
    generator = torch.Generator().manual_seed(seed)
    x0, eps, out = torch.randn(3, count, 1, 4, 4, dtype=DOUBLE, generator=generator)
    t = low + (0.9 - low) * torch.rand(count, dtype=DOUBLE, generator=generator)
    return x0, eps, out, t


# x-prediction


@pytest.mark.parametrize("on", ["x0", "eps", "v", "velocity"])
@pytest.mark.parametrize("given_", ["x0", "eps", "v", "velocity"])
@given(seed=st.integers(0, 2**32))
@settings(max_examples=5, deadline=None)
def test_a_loss_on_another_target_is_that_of_the_output_rewritten(given_, on, seed):
    """The weight against the long way: the output read as x0 and eps by the 2 x 2 solve, and those put together."""
    path, (x0, eps, out, t) = PATHS["linear"](), draws(seed)
    x_t = noisy(path, x0, eps, t)
    read = recover(given_, path, out, x_t, t)
    by_hand = (target(on, path, *read, t) - target(on, path, x0, eps, t)).square().mean((1, 2, 3))
    found = OBJECTIVES[on].loss(Denoiser(Fixed(out), path, given_), Batch(x0, eps, t, None))
    torch.testing.assert_close(found, by_hand)


def test_the_nine_weights_are_those_of_the_paper():
    """arXiv:2511.13720, table 1, with time from data to noise; what is divided by is at least 0.05."""
    path, t = PATHS["linear"](), torch.tensor([0.01, 0.3, 0.99], dtype=DOUBLE)
    a, b = 1 - t, t
    near, far = t.clamp(min=CLIP), (1 - t).clamp(min=CLIP)
    expected = {
        ("x0", "x0"): (t / near) ** 2, ("x0", "eps"): (a / near) ** 2, ("x0", "velocity"): 1 / near**2,
        ("eps", "x0"): (b / far) ** 2, ("eps", "eps"): (a / far) ** 2, ("eps", "velocity"): 1 / far**2,
        ("velocity", "x0"): b**2, ("velocity", "eps"): a**2, ("velocity", "velocity"): torch.ones_like(t),
    }  # fmt: skip
    for (given_, on), value in expected.items():
        torch.testing.assert_close(weight(given_, on, path, t), value)


def test_the_velocity_in_sampling_has_the_papers_clipped_denominators():
    """v = (eps - x) / alpha from eps and (x - x0) / t from x0, either denominator at least 0.05; finite at t = 1."""
    path, (x, _, out, _) = PATHS["linear"](), draws(8)
    for t in (torch.tensor(value, dtype=DOUBLE) for value in (0.01, 0.4, 0.98, 1.0)):
        by_eps, by_x0 = (recover(kind, path, out, x, t, CLIP) for kind in ("eps", "x0"))
        torch.testing.assert_close(by_eps.eps - by_eps.x0, (out - x) / max(float(1 - t), 0.05))
        torch.testing.assert_close(by_x0.eps - by_x0.x0, (x - out) / max(float(t), 0.05))


@pytest.mark.parametrize("path", ["linear", "vp-linear"])
@pytest.mark.parametrize("kind", ["eps", "x0"])
@pytest.mark.parametrize("t", [0.005, 0.02, 0.4, 0.98])
def test_clipped_estimates_still_explain_what_the_network_saw(kind, path, t):
    path, (x, _, out, _), t = PATHS[path](), draws(8), torch.tensor(t, dtype=DOUBLE)
    read = recover(kind, path, out, x, t, CLIP)
    torch.testing.assert_close(noisy(path, *read, t), x)


@pytest.mark.parametrize("steps", [8, 50, 100])
def test_a_perfect_x0_network_with_the_loss_on_velocity_samples_its_image(steps):
    """Also where the last step starts below the least denominator: what is clipped is the velocity, not the image."""
    path, start = PATHS["linear"](), draws(3)[1]
    denoiser = Denoiser(Fixed(-torch.ones_like(start)), path, "x0", CLIP)
    guided = Guided(denoiser, None, None, clip=False)
    ts = sampling_times("trailing", steps, path)
    found = SAMPLERS["euler"](guided, path, start, ts)
    left = torch.prod(1 - (ts[:-1] - ts[1:]) / ts[:-1].clamp(min=CLIP))  # of the distance to the image
    assert left < 0.02
    torch.testing.assert_close(found, -1 + left * (start + 1))


def test_a_row_names_the_target_and_what_the_loss_is_on():
    assert target_and_loss("eps") == ("eps", "eps") and target_and_loss("x0@velocity") == ("x0", "velocity")


# EDM


def edm_denoiser(F, x, s):
    """D(x; s) as table 1 of arXiv:2206.00364 writes it, from scratch."""
    skip = SIGMA_DATA**2 / (s**2 + SIGMA_DATA**2)
    out = s * SIGMA_DATA / (s**2 + SIGMA_DATA**2) ** 0.5
    inside = 1 / (s**2 + SIGMA_DATA**2) ** 0.5
    return skip * x + out * F(inside * x, math.log(s) / 4)


@pytest.mark.parametrize("s", [0.002, 0.05, 0.7, 4.0, 80.0])
def test_the_denoiser_is_that_of_edm(s):
    path, (x0, eps, _, _) = EDM(), draws(1)
    t = path.time(torch.tensor(s, dtype=DOUBLE))
    torch.testing.assert_close(path.level(t), torch.tensor(s, dtype=DOUBLE), rtol=1e-4, atol=0)
    s = float(path.level(t))
    x = x0 + s * eps  # in EDM's own coordinates
    x_t = path.alpha(t) * x
    read = recover("edm", path, torch.tanh(x_t), x_t, t)
    torch.testing.assert_close(read.x0, edm_denoiser(lambda z, c: torch.tanh(z), x, s))
    torch.testing.assert_close(read.eps, (x - read.x0) / s)


def test_the_weight_of_edms_loss_times_c_out_squared_is_one():
    """lambda(s) |D - x0|^2 with lambda = (s^2 + d^2) / (s d)^2 is the plain squared error of F."""
    path, (x0, eps, out, t) = EDM(), draws(2)
    s = path.level(t)
    lam, c_out = (s**2 + SIGMA_DATA**2) / (s * SIGMA_DATA) ** 2, s * SIGMA_DATA / (s**2 + SIGMA_DATA**2).sqrt()
    torch.testing.assert_close(lam * c_out**2, torch.ones_like(t))
    found = OBJECTIVES["edm"].loss(Denoiser(Fixed(out), path, "edm"), Batch(x0, eps, t, None))
    read = recover("edm", path, out, noisy(path, x0, eps, t), t).x0
    torch.testing.assert_close(found, lam * (read - x0).square().mean((1, 2, 3)))


@pytest.mark.skipif("MNIST_DIR" not in os.environ, reason="reads MNIST")
def test_the_size_of_the_data_is_mnists():
    with gzip.open(Path(os.environ["MNIST_DIR"]) / "train-images-idx3-ubyte.gz") as file:
        pixels = torch.frombuffer(bytearray(file.read()[16:]), dtype=torch.uint8).double() / 127.5 - 1
    assert float(pixels.square().mean().sqrt()) == pytest.approx(SIGMA_DATA, abs=0.005)
    assert float(pixels.std()) == pytest.approx(0.616, abs=0.001), "of which EDM's formulas would make inputs too small"


def test_inputs_and_targets_of_edm_have_size_one():
    """For data whose mean square is SIGMA_DATA^2, at every noise level; not so with their spread for d."""
    path, generator = EDM(), torch.Generator().manual_seed(0)
    ink = torch.rand(200_000, generator=generator, dtype=DOUBLE) < 0.13
    x0 = torch.where(ink, 0.5, -1.0)
    x0 = (x0 * SIGMA_DATA / x0.square().mean().sqrt())[:, None, None, None]
    eps = torch.randn(x0.shape, generator=generator, dtype=DOUBLE)
    for s in (0.05, 0.5, 5.0):
        t = path.time(torch.full((len(x0),), s, dtype=DOUBLE))
        assert float(noisy(path, x0, eps, t).square().mean()) == pytest.approx(1, abs=0.02)
        assert float(target("edm", path, x0, eps, t).square().mean()) == pytest.approx(1, abs=0.02)


def test_the_exact_network_of_a_gaussian_is_nothing_but_its_mean():
    """Of data N(0, SIGMA_DATA^2) D is c_skip x, so F is 0: what the preconditioning is for."""
    path, (x0, eps, _, t) = EDM(), draws(3)
    x_t = noisy(path, x0, eps, t)
    s = path.level(t)[:, None, None, None]
    read = recover("edm", path, torch.zeros_like(x_t), x_t, t)
    torch.testing.assert_close(read.x0, SIGMA_DATA**2 / (SIGMA_DATA**2 + s**2) * (x0 + s * eps))


def test_levels_are_log_normal_and_the_network_is_told_their_logarithm():
    path = EDM()
    u = (torch.arange(20_000, dtype=DOUBLE) + 0.5) / 20_000
    logs = path.level(training_times("log-normal", u, path)).log()
    assert float(logs.mean()) == pytest.approx(-1.2, abs=0.01) and float(logs.std()) == pytest.approx(1.2, abs=0.01)
    carried = PATHS["linear"]().log_snr(training_times("log-normal", u, PATHS["linear"]()))
    torch.testing.assert_close(carried / -2, logs, rtol=1e-6, atol=1e-6)
    told = path.told(path.time(torch.tensor([0.002, 0.4, 80.0], dtype=DOUBLE)))
    torch.testing.assert_close(told, torch.tensor([0.0, 500.0, 1000.0], dtype=DOUBLE), rtol=0, atol=1e-2)


@pytest.mark.parametrize("steps", [2, 5, 18])
def test_heun_on_edms_spacing_is_algorithm_1_of_the_paper(steps):
    path = EDM()
    ts = sampling_times("ending", steps, path)
    s = [(80 ** (1 / 7) + i / (steps - 1) * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7 for i in range(steps)]  # eq. 5
    torch.testing.assert_close(path.level(ts), torch.tensor([*s, 0.0], dtype=DOUBLE), rtol=1e-4, atol=0)
    s = path.level(ts).tolist()
    start = draws(4)[1]

    def network(z, c):
        return torch.tanh(z + 0.2 * c)

    def denoise(x_t, t):
        return recover("edm", path, network(x_t, float(path.level(t).log() / 4)), x_t, t)

    x = start / float(path.alpha(ts[0]))
    for i in range(steps):
        d = (x - edm_denoiser(network, x, s[i])) / s[i]
        ahead = x + (s[i + 1] - s[i]) * d
        if i < steps - 1:
            d = (d + (ahead - edm_denoiser(network, ahead, s[i + 1])) / s[i + 1]) / 2
        x = x + (s[i + 1] - s[i]) * d
    torch.testing.assert_close(SAMPLERS["heun"](denoise, path, start, ts), x, rtol=1e-6, atol=1e-6)


# Autoguidance


def test_a_worse_network_takes_the_place_of_the_one_without_a_prompt():
    """arXiv:2406.02507, eq. 3: D0 + w (D1 - D0), two evaluations; and none of the worse one at scale 1."""
    _, good = make()
    x, prompt, t = batch()
    bad = Denoiser(Fixed(torch.full((1,), 0.3, dtype=DOUBLE)), PATHS["vp-linear"](), "eps")
    guided = Guided(good, prompt, NULL, 1.5, negative=bad)
    one, zero = good.output(x, t, prompt), bad.output(x, t, prompt)
    torch.testing.assert_close(guided.output(x, t), zero + 1.5 * (one - zero))
    assert guided.nfe == 2
    assert torch.equal(Guided(good, prompt, NULL, 1.0, negative=bad).output(x, t), one)
    itself = Guided(good, prompt, NULL, 3.0, negative=good)
    torch.testing.assert_close(itself.output(x, t), one)


# MeanFlow


def interval_network():
    torch.manual_seed(0)
    net = NETWORKS["dit-interval"](8, True, width=16, depth=2, heads=2)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return Denoiser(net.eval(), PATHS["linear"](), "velocity")


def interval_batch():
    generator = torch.Generator().manual_seed(1)
    x0, eps = torch.randn(2, 3, 1, 8, 8, generator=generator)
    prompt = torch.tensor([[3, 11, 15], [7, 10, 14], [18, 18, 18]])
    return Batch(x0, eps, torch.tensor([0.9, 0.2, 0.5]), prompt, torch.tensor([0.3, 0.7, 0.5]))


def test_u_is_v_where_the_step_has_no_length():
    denoiser, batch_ = interval_network(), interval_batch()
    x_t = noisy(denoiser.path, *batch_[:3])
    told = denoiser.output(x_t, batch_.t, batch_.prompt, batch_.t)
    assert torch.equal(told, denoiser.output(x_t, batch_.t, batch_.prompt))
    assert not torch.allclose(told, denoiser.output(x_t, batch_.t, batch_.prompt, 0.5 * batch_.t))


def test_the_loss_of_mean_flow_against_differences():
    """V and its loss by central differences along (v, 0, 1), and with r = t plain flow matching.

    In float64, but for what the network is told of times: of a step much below 1e-3 that would leave rounding.
    """
    denoiser, (x0, eps, one, prompt, other) = interval_network(), interval_batch()
    denoiser.net.double()
    x0, eps, one, other = (value.double() for value in (x0, eps, one, other))
    found = OBJECTIVES["mean-flow"].loss(denoiser, Batch(x0, eps, one, prompt, other))
    t, r = torch.maximum(one, other), torch.minimum(one, other)
    z = (1 - t)[:, None, None, None] * x0 + t[:, None, None, None] * eps
    v, h = denoiser.net(z, 1000 * t, prompt), 1e-3
    ahead, behind = (denoiser.net(z + s * h * v, 1000 * (t + s * h), prompt, 1000 * r) for s in (1, -1))
    u = denoiser.net(z, 1000 * t, prompt, 1000 * r)
    V = u + (t - r)[:, None, None, None] * (ahead - behind) / (2 * h)
    error = (V - (eps - x0)).square().sum((1, 2, 3))
    torch.testing.assert_close(found, error, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(OBJECTIVES["mean-flow"].weigh(found), error / (error + 0.01), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found[2], (v - (eps - x0)).square().sum((1, 2, 3))[2])


def test_the_gradient_of_mean_flow_is_that_of_u_alone():
    """No gradient goes through the derivative, and each error is weighted by one over itself."""
    denoiser, batch_ = interval_network(), interval_batch()
    net, (x0, eps, one, prompt, other) = denoiser.net, batch_
    objective = OBJECTIVES["mean-flow"]
    objective.weigh(objective.loss(denoiser, batch_)).mean().backward()
    found = net.head.project.weight.grad.clone()
    net.zero_grad()
    t, r = torch.maximum(one, other), torch.minimum(one, other)
    z = noisy(denoiser.path, x0, eps, t)
    with torch.no_grad():
        u = denoiser.output(z, t, prompt, r)
        V = mean_flow.compound(
            u, mean_flow.total_derivative(lambda z, r, t: net(z, 1000 * t, prompt, 1000 * r), z, r, t), r, t
        )
        away = V - (eps - x0)
        push = 2 * away / (away.square().sum((1, 2, 3), keepdim=True) + 0.01) / len(x0)
    (denoiser.output(z, t, prompt, r) * push).sum().backward()
    torch.testing.assert_close(found, net.head.project.weight.grad, rtol=1e-4, atol=1e-6)


def gaussian_flow(mean: float, spread: float):
    """The exact trajectory and mean velocity of data N(mean, spread^2) on the linear path."""

    def at(z, t, r):
        size = lambda t: ((1 - t) ** 2 * spread**2 + t**2) ** 0.5  # noqa: E731
        return (1 - r) * mean + size(r) / size(t) * (z - (1 - t) * mean)

    return at, lambda z, r, t: (z - at(z, t, r)) / (t - r)


def test_one_step_of_the_exact_mean_velocity_is_the_map_to_a_gaussian():
    """One step and two end where the flow ends, at ``mean + spread eps``; Euler's one step ends at the mean."""
    _, u = gaussian_flow(0.3, 0.5)
    path, x = PATHS["linear"](), draws(5)[1]

    class Exact(torch.nn.Module):
        def forward(self, x, t, prompt=None, end=None):
            t, r = (value[:, None, None, None] / 1000 for value in (t, t - 1e-4 if end is None else end))
            return u(x, r, t)

    guided = Guided(Denoiser(Exact(), path, "velocity"), None, None, clip=False)
    for steps in (1, 2, 5):
        found = SAMPLERS["flow-map"](guided, path, x, sampling_times("trailing", steps, path))
        torch.testing.assert_close(found, 0.3 + 0.5 * x)
    assert guided.nfe == 8
    euler = SAMPLERS["euler"](guided, path, x, sampling_times("trailing", 1, path))
    torch.testing.assert_close(euler, torch.full_like(x, 0.3), rtol=0, atol=1e-5)


def test_the_exact_mean_velocity_keeps_the_identity():
    """``v = u + (t - r) du/dt`` for the Gaussian's u, with v from its limit."""
    _, u = gaussian_flow(-0.2, 0.7)
    z, (r, t) = draws(6)[0], torch.tensor([[0.2], [0.8]], dtype=DOUBLE).repeat(1, 4)
    shape = (-1, 1, 1, 1)

    def mean(z, r, t):
        same = (t == r).reshape(shape)
        return u(z, torch.where(same, r.reshape(shape) - 1e-7, r.reshape(shape)), t.reshape(shape))

    V = mean_flow.compound(mean(z, r, t), mean_flow.total_derivative(mean, z, r, t), r, t)
    torch.testing.assert_close(V, mean(z, t, t), rtol=1e-5, atol=1e-5)


def test_second_times_are_the_first_for_half_and_elsewhere_of_the_same_density():
    generator, t = torch.Generator().manual_seed(0), torch.full((20_000,), 2.0)
    other = objective.second_time(t, lambda u: training_times("logit-normal", u, PATHS["linear"]()), generator)
    drawn = other[other != 2]
    assert len(drawn) / len(t) == pytest.approx(0.5, abs=0.02)
    logit = (drawn / (1 - drawn)).log()
    assert float(logit.mean()) == pytest.approx(0, abs=0.03) and float(logit.std()) == pytest.approx(1, abs=0.03)


# Drifting


def drift_by_loops(x, y, temperature):
    """One temperature's field of arXiv:2602.04770, algorithm 2, one pair at a time."""
    others = [*y, *x]
    d = [[float((a - b).norm()) for b in others] for a in x]
    k = [
        [0.0 if j == len(y) + i else math.exp(-d[i][j] / temperature) for j in range(len(others))]
        for i in range(len(x))
    ]
    rows, columns = [sum(row) for row in k], [sum(row[j] for row in k) for j in range(len(others))]
    a = [[k[i][j] / math.sqrt(rows[i] * columns[j]) for j in range(len(others))] for i in range(len(x))]
    result = torch.zeros_like(x)
    for i in range(len(x)):
        for p in range(len(y)):
            for q in range(len(x)):
                result[i] += a[i][p] * a[i][len(y) + q] * (y[p] - x[q])
    return result


def test_the_field_of_drift_is_the_papers_sum_over_pairs():
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(count, 3, dtype=DOUBLE, generator=generator) for count in (4, 6))
    to_data, to_samples = drift.distances(x, y), drift.distances(x, x)
    for temperature in (0.5, 2.0):
        expected = drift_by_loops(x, y, temperature)
        found = drift.field(x, y, to_data, to_samples, [temperature])
        torch.testing.assert_close(found, expected / expected.square().mean().sqrt())


def test_samples_drift_to_data_and_stay_where_they_are_data():
    """Far from the data the field points to them; among samples of the same distribution it averages out."""
    generator = torch.Generator().manual_seed(1)
    x, y = (torch.randn(400, 2, dtype=DOUBLE, generator=generator) for _ in range(2))
    unit, goal = drift.drifted(x + 3, y, None, None)
    assert ((goal - (x + 3) / unit) @ torch.ones(2, dtype=DOUBLE) < 0).double().mean() > 0.95
    unit, goal = drift.drifted(x, y, None, None)
    settled = (goal - x / unit).mean(0).norm()
    unit, goal = drift.drifted(x + 0.3, y, None, None)
    assert settled < 0.5 * (goal - (x + 0.3) / unit).mean(0).norm()


def test_prompts_keep_classes_apart_in_the_field():
    """Samples of one digit are not drawn to the data of another, however near."""
    generator = torch.Generator().manual_seed(2)
    x = 0.1 * torch.randn(20, 2, generator=generator)
    near, far = 0.1 * torch.randn(2, 20, 2, generator=generator)
    y = torch.cat([near + 1, far - 1])
    ones, twos = (torch.tensor([[digit, 11, 14]]).expand(20, 3) for digit in (1, 2))
    for prompt, sign in ((ones, 1), (twos, -1)):
        unit, goal = drift.drifted(x, y, prompt, torch.cat([ones, twos]))
        assert (sign * (goal - x / unit) > 0).all()
    assert torch.equal(drift.words_apart(ones[:1], twos[:1]), torch.tensor([[1.0]]))


def test_the_loss_of_drift_pulls_along_the_field():
    """The gradient is ``-2 V / unit`` over the dimensions, and none goes through V."""
    generator = torch.Generator().manual_seed(3)
    out = torch.randn(5, 1, 4, 4, generator=generator).requires_grad_()
    x0, eps = torch.randn(10, 1, 4, 4, generator=generator), torch.randn(5, 1, 4, 4, generator=generator)
    denoiser = Denoiser(Fixed(out), PATHS["one-level"](), "x0")
    loss = OBJECTIVES["drift"].loss(denoiser, Batch(x0, eps, torch.ones(5), None))
    loss.sum().backward()
    unit, goal = drift.drifted(out.detach().flatten(1), x0.flatten(1), None, None)
    expected = -2 * (goal - out.detach().flatten(1) / unit) / unit / 16
    torch.testing.assert_close(out.grad.flatten(1), expected)


def test_a_path_of_one_level_is_taken_in_one_step():
    path, x = PATHS["one-level"](), draws(7)[1]
    made = torch.tanh(x)
    for sampler in ("ddim", "euler", "heun", "dpmpp-2m"):
        guided = Guided(Denoiser(Fixed(made), path, "x0"), None, None, clip=False)
        found = SAMPLERS[sampler](guided, path, x, sampling_times("trailing", 8, path))
        torch.testing.assert_close(found, made)
        assert guided.nfe == 1
    assert (training_times("uniform", torch.rand(9), path) == 1).all()
    t = torch.ones((), dtype=DOUBLE)
    torch.testing.assert_close(recover("x0", path, made, x, t), Prediction(made, x))


# Rows


def test_the_presets_of_what_came_after(at_root):
    """Rows that mnist-small shares with mnist-after have its sizes; the nine of each patch differ in nothing else."""
    small, after, grid, some = map(runs.load, ("mnist-small", "mnist-after", "patches-grid", "patches"))
    for key in set(small.paradigms) & set(after.paradigms):
        assert small.paradigms[key] == after.paradigms[key]
    assert small.training == after.training
    assert {key for key, row in after.paradigms.items() if row.role == "after"} == {"jit", "edm", "imf", "drift"}
    assert after.paradigms["jit"].size == after.paradigms["imf"].size == after.paradigms["dit-velocity"].size
    assert len(grid.paradigms) == 36 and all(grid.paradigms[key] == row for key, row in some.paradigms.items())
    made = {(row.target, row.size["patch"]) for row in grid.paradigms.values()}
    kinds = ("x0", "eps", "velocity")
    assert made == {(f"{kind}@{on}", patch) for kind in kinds for on in kinds for patch in (2, 4, 7, 14)}


ROWS = {
    "jit": {"target": "x0@velocity", "path": "linear", "times": "logit-normal", "samplers": ["euler"]},
    "edm": {"target": "edm", "path": "edm", "times": "log-normal", "samplers": ["heun"]},
    "imf": {"network": "dit-interval", "target": "velocity@mean-flow", "path": "linear", "samplers": ["flow-map"]},
    "drift": {"target": "x0@drift", "path": "one-level", "samplers": ["ddim"]},
}


def test_the_table_of_arms_names_the_network_guided_away_from(at_root):
    """Away from a snapshot is a change of its own: such an arm is no pair with one on another grid."""
    params = runs.load("mnist-after")
    listed = [arm_row("edm", cell, "float32") for cell in cells(params, "edm", 0, ARMS)]
    frame = store.frame("arms", listed)
    assert frame.set_index("arm").negative.to_dict() == {"autoguidance": 0.25}
    assert len(_plain(frame)) == 0 and len(_plain(frame.assign(negative=float("nan")))) == 1


@pytest.mark.parametrize("key", ROWS)
def test_rows_train_sample_and_are_probed_like_the_others(smoke, places, key):
    """Through the stages as they are: training, a snapshot as the negative, convergence, probe and film."""
    from diffbench.config.models import Arm
    from diffbench.runtime.files import read_json
    from diffbench.stages import convergence, probe, sample, train

    row = dataclasses.replace(smoke.paradigms["dit"], id=key, guidance=[1.0], **ROWS[key])
    arms = {key: {"auto": Arm(sampler=row.samplers[0], steps=2, guidance=1.5, negative=0.5)}}
    training = dataclasses.replace(smoke.training, images=512)
    params = dataclasses.replace(
        smoke, paradigms={key: row}, training=training, sampling=dataclasses.replace(smoke.sampling, arms=arms)
    )
    train.run(params, key, 0)
    assert read_json(places.train(key, 0) / "history.json")["status"] == "ok"
    for steps in ("2", "arms"):
        sample.run(params, key, 0, steps)
        cells = read_json(places.samples(key, 0, steps).with_suffix(".json"))["cells"]
        each = {"edm": 3, "drift": 1}.get(key, 2)
        assert [cell["nfe"] for cell in cells] == [each if steps == "2" else 2 * each]
        assert all(cell["status"] == "ok" for cell in cells)
    convergence.run(params, key, 0)
    probe.run(params, key, 0)
    straight = read_json(places.probe(key, 0))["straightness"]
    if key == "drift":  # one step is a line whatever the network
        assert straight["path_over_chord"] is None and straight["reason"] == "the path is taken in one step"
    else:
        assert straight["path_over_chord"] >= 1 - 1e-6
