"""Errors by noise level, straightness, snapshots, and what is counted."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from test_samplers import gaussian
from torch import nn

from diffbench import design
from diffbench.data import splits
from diffbench.data.sources import image_side
from diffbench.design import Cell
from diffbench.diffusion import model
from diffbench.diffusion.denoiser import Denoiser
from diffbench.diffusion.paths import PATHS
from diffbench.diffusion.targets import Prediction
from diffbench.diffusion.times import trailing
from diffbench.evaluation.exact_flow import exact_straightness, posterior_mean
from diffbench.evaluation.probe import covers, errors, levels_in, straightness, trajectory
from diffbench.runtime import checkpoint
from diffbench.stages import convergence, evaluate, probe, sample, train
from diffbench.training import cost, trainer

DOUBLE = torch.float64


def noise(count: int, *shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, *shape, dtype=DOUBLE, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", ["linear", "vp-linear", "vp-scaled-linear"])
def test_a_point_mass_is_straight_on_every_path(name):
    path, point = PATHS[name](), noise(1, 1, 4, 4, seed=5)

    def denoise(x, t):
        return Prediction(point.expand_as(x), (x - path.alpha(t) * point) / path.sigma(t))

    ratio, deviation, reason = straightness(*trajectory(denoise, path, noise(6, 1, 4, 4), trailing(50, path.levels)))
    assert (ratio, deviation, reason) == (pytest.approx(1, abs=1e-9), pytest.approx(0, abs=1e-9), "")


@pytest.mark.parametrize("name", ["linear", "vp-linear"])
def test_the_posterior_mean_is_bayes_rule(name):
    """Against densities written out one image at a time; the noise explains x_t."""
    path, images, x_t = PATHS[name](), noise(5, 1, 2, 2), noise(3, 1, 2, 2, seed=1)
    t = torch.tensor(0.6, dtype=DOUBLE)
    found = posterior_mean(images, path, x_t, t)
    for point, x0, eps in zip(x_t, *found, strict=True):
        spread = torch.distributions.Normal(path.alpha(t) * images, path.sigma(t))
        density = spread.log_prob(point).sum(dim=(1, 2, 3)).exp()
        torch.testing.assert_close(x0, torch.einsum("n,nchw->chw", density / density.sum(), images))
        torch.testing.assert_close(path.alpha(t) * x0 + path.sigma(t) * eps, point)


def test_the_exact_flow_is_straight_to_one_image_a_prompt_and_bends_to_two():
    """Departure 0 where noise has one place to go; two points at +-1 on a line bend as worked out in small steps."""
    path, ts = PATHS["linear"](), trailing(400, None)
    asked = torch.tensor([[0, 1, 2], [1, 1, 2], [0, 1, 2], [3, 1, 2]])
    start = noise(4, 1, 2, 2, seed=3)
    one = exact_straightness(path, noise(2, 1, 2, 2), asked[:2], start, asked, ts)
    assert one == (pytest.approx(1, abs=1e-9), pytest.approx(0, abs=1e-9)), "a prompt without images is left out"
    ends = torch.tensor([-1.0, 1.0], dtype=DOUBLE).reshape(2, 1, 1, 1)
    same, begun = asked[:1].expand(2, 3), torch.tensor([0.5, -2.0], dtype=DOUBLE).reshape(2, 1, 1, 1)
    length, departure = exact_straightness(path, ends, same, begun, same, ts)
    wanted = []
    for x in (0.5, -2.0):
        chord, velocities = x - math.copysign(1, x), []
        for k in range(4000):
            t = 1 - k / 4000
            velocities.append((x - math.tanh((1 - t) * x / t**2)) / t)
            x -= velocities[-1] / 4000
        wanted.append((sum((v - chord) ** 2 for v in velocities) / 4000, chord**2, sum(map(abs, velocities)) / 4000))
    departures, chords, lengths = zip(*wanted, strict=True)
    assert departure == pytest.approx(sum(departures) / sum(chords), rel=0.02)
    assert length == pytest.approx((lengths[0] / 0.5 + lengths[1] / 1) / 2, rel=0.02)
    nowhere = exact_straightness(path, ends, same, begun, same + 1, ts)
    assert math.isnan(nowhere[0]) and math.isnan(nowhere[1])
    assert exact_straightness(path, ends, None, begun, None, ts) == (length, departure)


@pytest.mark.parametrize("spread", [0.25, 0.5, 2.0])
@pytest.mark.parametrize("name", ["linear", "vp-linear"])
def test_straightness_of_the_exact_flow_to_a_gaussian(name, spread):
    """(1 + s - 2 s / sqrt(1 + s^2)) / |1 - s|, 1.211 at s = 0.5; a VP path starts a little short of tau = 1."""
    path = PATHS[name]()
    parts = trajectory(gaussian(path, 0.0, spread), path, noise(50, 1, 1, 1), trailing(1000, path.levels))
    ratio, _, _ = straightness(*parts)
    tau = float(parts[2][0])
    first, least = math.hypot((1 - tau) * spread, tau), spread / math.sqrt(1 + spread**2)
    expected = (first + spread - 2 * least) / abs(first - spread)
    assert ratio == pytest.approx(expected, rel=0.005), "1,000 first-order steps"
    if name == "linear":
        assert expected == pytest.approx((1 + spread - 2 * least) / abs(1 - spread))
        assert spread != 0.5 or expected == pytest.approx(1.211, abs=5e-4)


def test_a_trajectory_without_a_chord_has_no_straightness():
    path = PATHS["linear"]()
    still = lambda x, t: Prediction(x, x)  # noqa: E731
    ratio, deviation, reason = straightness(*trajectory(still, path, noise(3, 1, 2, 2), trailing(5, None)))
    assert math.isnan(ratio) and math.isnan(deviation) and reason == "a trajectory ends where it starts"
    wild = lambda x, t: Prediction(x * torch.nan, x)  # noqa: E731
    *_, reason = straightness(*trajectory(wild, path, noise(3, 1, 2, 2), trailing(5, None)))
    assert reason == "a trajectory is not finite"


def test_the_deviation_of_a_known_velocity():
    """dy/dtau = 1 then 3 over halves: the chord's is 2, each half departs by 1, so 1 / 4."""
    tau = torch.tensor([1.0, 0.5, 0.0], dtype=DOUBLE)
    velocities = torch.tensor([1.0, 3.0], dtype=DOUBLE)[:, None, None]
    points = torch.tensor([2.0, 1.5, 0.0], dtype=DOUBLE)[:, None, None]
    assert straightness(points, velocities, tau) == (1.0, 0.25, "")


class Constant(nn.Module):
    def __init__(self, value: float):
        super().__init__()
        self.value = value

    def forward(self, x, t, prompt):
        return torch.full_like(x, self.value)


@pytest.mark.parametrize("name", ["linear", "vp-linear"])
def test_the_error_of_a_network_that_says_nothing(name):
    """A network that predicts x0 = 0 errs by E x0^2, and in eps by (alpha / sigma)^2 of it."""
    path, x0 = PATHS[name](), noise(400, 1, 4, 4, seed=1) / 3
    t = torch.full((400,), 0.4, dtype=DOUBLE)
    x0_error, eps_error = errors(Denoiser(Constant(0.0), path, "x0"), x0, noise(400, 1, 4, 4), None, t)
    assert x0_error == pytest.approx(float(x0.square().mean()))
    assert eps_error == pytest.approx(x0_error * float(path.alpha(t[0]) / path.sigma(t[0])) ** 2)


@pytest.mark.parametrize("name", [name for name in PATHS if name != "one-level"])
def test_levels_lie_in_their_bin_and_on_the_path(name):
    path, u = PATHS[name](), torch.linspace(0, 0.999, 50, dtype=DOUBLE)
    t = levels_in(path, "t", 0.2, 0.3, u)
    assert t.min() >= 0.2 and t.max() <= 0.3 and len(t.unique()) > 40
    t = levels_in(path, "log_snr", -1.0, 1.0, u)
    log_snr = 2 * (path.alpha(t) / path.sigma(t)).log()
    assert log_snr.min() >= -1.02 and log_snr.max() <= 1.02
    assert (levels_in(path, "t", 0.0, 0.1, u) > 0).all(), "no network is asked at t = 0"


def test_a_bin_that_a_schedule_never_sees_is_left_out():
    assert not covers(PATHS["vp-scaled-linear"](), -8, -6) and covers(PATHS["vp-linear"](), -8, -6)
    assert covers(PATHS["linear"](), -10, 10) and not covers(PATHS["vp-linear"](), 8, 12)
    assert covers(PATHS["vp-scaled-linear-ztsnr"](), -10, -8)


def test_the_probe_stage(smoke, places):
    """Rows share images, noise and draws; seeds of one row differ in their weights alone."""
    train.run(smoke, "sd1", 0)
    train.run(smoke, "sd3", 0)
    found = {}
    for paradigm in ("sd1", "sd3"):
        probe.run(smoke, paradigm, 0)
        first = places.probe(paradigm, 0).read_bytes()
        probe.run(smoke, paradigm, 0)
        assert places.probe(paradigm, 0).read_bytes() == first
        found[paradigm] = json.loads(first)
    for result in found.values():
        errors = result["noise_error"]
        assert [row["axis"] for row in errors] == ["t"] * 4 + ["log_snr"] * 2
        assert all(0 < row["x0_error"] < 50 and row["images"] == 100 for row in errors)
        assert errors[0]["x0_error"] < errors[3]["x0_error"], "noise hides the image"
        assert errors[0]["eps_error"] > errors[3]["eps_error"], "and the image the noise"
        assert 1 < result["straightness"]["path_over_chord"] < 5 and result["straightness"]["reason"] == ""


def test_every_films_first_state_is_the_same_noise(smoke, places):
    """An unconditional row's too, whose samples stand beside the others' as made from the same noise."""
    dataset, starts = splits.load(places.data), {}
    for key, row in smoke.paradigms.items():
        with torch.inference_mode():
            frames = probe.film(model.build(row, image_side(smoke)).eval(), smoke, dataset, 0, row.conditional)
        starts[key] = frames[0].astype(int)
    for key, start in starts.items():  # a path may end with a little of the signal, here none to speak of
        assert np.abs(start - starts["sd3"]).max() <= 16, key  # one grey level of the digits


def test_snapshots_are_the_averages_of_their_steps(smoke, places):
    """The convergence stage ends with the very cell that the sample and evaluate stages score."""
    kept = {}
    train.run(smoke, "dit", 0, watch=lambda trainer: kept.__setitem__(trainer.done, trainer.ema.clone()))
    tensors, header = checkpoint.load(places.train("dit", 0) / "snapshots.safetensors")
    assert header["images"] == [1024] and torch.equal(tensors["ema"][0], kept[16].half())
    convergence.run(smoke, "dit", 0)
    rows = json.loads(places.convergence("dit", 0).read_text())
    assert [row["images"] for row in rows] == [1024, 2048]
    assert (smoke.convergence.sampler, smoke.convergence.steps) == ("dpmpp-2m", 4)
    row = dataclasses.replace(smoke.paradigms["dit"], samplers=["dpmpp-2m"])
    params = dataclasses.replace(smoke, paradigms=smoke.paradigms | {"dit": row})
    for steps in design.step_values(params, "dit"):
        sample.run(params, "dit", 0, steps)
    evaluate.run(params, "dit", 0)
    cells = json.loads(places.evaluation("dit", 0).read_text())["cells"]
    same = next(c for c in cells if (c["sampler"], c["steps"], c["guidance"]) == ("dpmpp-2m", 4, 1.0))
    assert rows[1]["fid"] == pytest.approx(same["fid"], rel=1e-9) and rows[0]["fid"] != rows[1]["fid"]


def test_a_resumed_training_keeps_its_snapshots(smoke, places):
    params = dataclasses.replace(smoke, training=dataclasses.replace(smoke.training, snapshots=[0.25, 0.75]))
    params = dataclasses.replace(params, training=dataclasses.replace(params.training, checkpoint_seconds=0.0))
    path = places.train("sd3", 0) / "snapshots.safetensors"
    train.run(params, "sd3", 0)
    whole = path.read_bytes()

    class Pull(Exception):
        pass

    def pull(trainer):
        if trainer.done == 20:
            trainer.save(places.checkpoints / "sd3-0.safetensors", train.resume_key(params, row, 0, trainer.device))
            raise Pull

    row = params.paradigms["sd3"]
    path.unlink()
    places.resume_point("sd3-0").unlink()
    with pytest.raises(Pull):
        train.run(params, "sd3", 0, watch=pull)
    seen = []
    train.run(params, "sd3", 0, watch=lambda trainer: seen.append(trainer.done))
    assert seen[0] == 21 and path.read_bytes() == whole


def test_a_failed_training_keeps_the_snapshots_before_its_failure(smoke, places, monkeypatch):
    eps = trainer.objective("eps")
    infinite = eps._replace(loss=lambda *arguments: eps.loss(*arguments) * torch.inf)
    monkeypatch.setattr(trainer, "objective", lambda name: infinite)
    train.run(smoke, "sd2", 0)
    convergence.run(smoke, "sd2", 0)
    rows = json.loads(places.convergence("sd2", 0).read_text())
    assert [(row["images"], row["status"]) for row in rows] == [(1024, "failed"), (2048, "failed")]
    assert {row["fid"] for row in rows} == {None}
    probe.run(smoke, "sd2", 0)
    found = json.loads(places.probe("sd2", 0).read_text())
    assert found["straightness"]["reason"] == "the training failed"
    assert all(row["x0_error"] is None for row in found["noise_error"])


def test_macs_of_one_layer_by_hand(smoke):
    """A 3 x 3 convolution from 8 to 16 channels on 8 x 8 pixels: 9 x 8 x 16 x 64; a linear layer: inputs x outputs."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        nn.Conv2d(8, 16, 3, padding=1)(torch.zeros(1, 8, 8, 8))
        nn.Linear(32, 10)(torch.zeros(1, 32))
    assert counter.get_total_flops() // 2 == 9 * 8 * 16 * 64 + 32 * 10
    row = smoke.paradigms["dit"]
    deeper = dataclasses.replace(row, size=row.size | {"depth": 3})
    width, tokens = 16, 16
    block = tokens * (4 + 2 * 4) * width**2 + 2 * tokens**2 * width + 6 * width**2  # qkv + out, mlp, attention, adaLN
    assert cost.macs(deeper, 8) - cost.macs(row, 8) == block


def test_a_cell_says_what_it_is():
    cell = Cell(sampler="ddim", steps=4, guidance=1.0, arm="eta-half", eta=0.5)
    assert cell.options == {"eta": 0.5} and list(cell.key) == ["sampler", "steps", "guidance", "arm"]
    assert np.array_equal(model.PATHS["linear"]().time_at(torch.zeros(1)).numpy(), [0.5])
