"""Training: resumable to the same weights, fair between paradigms, and honest about failure."""

import dataclasses
import json
import shutil
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from diffbench import design
from diffbench.config.models import Training
from diffbench.data import captions, splits, vocabulary
from diffbench.data.sources import image_side
from diffbench.design import Cell
from diffbench.device import prepare
from diffbench.diffusion import generate, model
from diffbench.diffusion.objective import Objective
from diffbench.errors import UserError
from diffbench.runtime import checkpoint
from diffbench.runtime.places import Places
from diffbench.stages import evaluate, sample, train
from diffbench.training import ema, flat_parameters, recorded
from diffbench.training import trainer as trainer_module
from diffbench.training.trainer import (
    GRADIENTS_AGREE,
    STATE,
    Trainer,
    disagreement,
    drop_words,
    image_order,
    spread_uniform,
)


class Interrupted(Exception):
    pass


def weights(places, paradigm):
    return checkpoint.load(places.train(paradigm, 0) / "model.safetensors")[0]


@pytest.mark.parametrize("paradigm", ["ddpm", "sd3"])
def test_an_interrupted_training_ends_with_the_same_weights(smoke, places, paradigm):
    params = dataclasses.replace(
        smoke, training=dataclasses.replace(smoke.training, images=64 * 120, checkpoint_seconds=0)
    )
    train.run(params, paradigm, 0)
    unbroken = weights(places, paradigm)
    history = (places.train(paradigm, 0) / "history.json").read_bytes()
    resume = places.resume_point(f"{paradigm}-0")
    for path in (resume, places.train(paradigm, 0) / "model.safetensors"):
        path.unlink()

    def interrupt(trainer):
        if trainer.done == 70:
            raise Interrupted

    with pytest.raises(Interrupted):
        train.run(params, paradigm, 0, watch=interrupt)
    assert resume.exists() and not (places.train(paradigm, 0) / "model.safetensors").exists()
    first = []
    train.run(params, paradigm, 0, watch=lambda trainer: first.append(trainer.done))
    assert first[0] == 51, "it went on from the resume point of step 50"
    resumed = weights(places, paradigm)
    assert all(torch.equal(unbroken[name], resumed[name]) for name in unbroken)
    assert (places.train(paradigm, 0) / "history.json").read_bytes() == history
    assert resume.exists(), "until another job reads the training"


@pytest.mark.parametrize("harm", ["truncate", "flip", "foreign"])
def test_a_useless_resume_point_is_said_and_not_used(smoke, places, harm, capsys):
    params = dataclasses.replace(
        smoke, training=dataclasses.replace(smoke.training, checkpoint_seconds=0, images=64 * 60)
    )

    def interrupt(trainer):
        if trainer.done == 55:
            raise Interrupted

    with pytest.raises(Interrupted):
        train.run(params, "dit", 0, watch=interrupt)
    resume = places.checkpoints / "dit-0.safetensors"
    content = resume.read_bytes()
    if harm == "truncate":
        resume.write_bytes(content[: len(content) // 2])
    elif harm == "flip":
        resume.write_bytes(b"\xff" * 8 + content[8:])
    else:
        row = dataclasses.replace(params.paradigms["dit"], lr=0.001)
        params = dataclasses.replace(params, paradigms=params.paradigms | {"dit": row})
    first = []
    train.run(params, "dit", 0, watch=lambda trainer: first.append(trainer.done))
    assert first[0] == 1
    assert "training starts again" in capsys.readouterr().out


def test_a_diverging_training_is_a_result(smoke, places):
    """A learning rate that overflows: exit as usual, and rows that say failed all the way down."""
    row = dataclasses.replace(smoke.paradigms["dit"])
    object.__setattr__(row, "lr", 1e30)  # params allow none so large
    params = dataclasses.replace(smoke, paradigms=smoke.paradigms | {"dit": row})
    train.run(params, "dit", 0)
    history = json.loads((places.train("dit", 0) / "history.json").read_text())
    assert history["status"] == "failed" and 0 < history["failed_step"] < 32
    assert history["failed_loss"] in ("nan", "inf")
    assert history["curve"] and all(point["loss"] == point["loss"] for point in history["curve"])
    for steps in design.step_values(params, "dit"):
        sample.run(params, "dit", 0, steps)
    evaluate.run(params, "dit", 0)
    cells = json.loads(places.evaluation("dit", 0).read_text())["cells"]
    assert len(cells) == 7 and all(cell["status"] == "failed" and cell["fid"] is None for cell in cells)


def test_every_paradigm_sees_the_same_images_noise_and_times(smoke, monkeypatch):
    device, dataset = torch.device("cpu"), splits.load(Places("smoke").data)
    seen = {}
    for paradigm in ("ddpm", "sd1", "dit", "sd3"):
        draws = []

        def spy(denoiser, batch, draws=draws):
            draws.append((batch.x0, batch.t, batch.eps))
            return denoiser.net(batch.x0, batch.t, batch.prompt).mean((1, 2, 3))

        monkeypatch.setattr(trainer_module, "objective", lambda name: Objective(spy))
        trainer = Trainer(smoke, smoke.paradigms[paradigm], 0, device, dataset)
        trainer.step()
        trainer.step()
        seen[paradigm] = draws
    for paradigm in ("sd1", "dit", "sd3"):
        for (x0, t, eps), (other_x0, other_t, other_eps) in zip(seen["ddpm"], seen[paradigm], strict=True):
            assert torch.equal(x0, other_x0) and torch.equal(eps, other_eps)
            ranks = t.argsort(stable=True), other_t.argsort(stable=True)
            assert paradigm == "sd3" or torch.equal(t, other_t)
            assert (t[ranks[1]].diff() >= -1e-3).all(), "times are the same draws through another density"
    assert not torch.equal(seen["ddpm"][0][2], seen["ddpm"][1][2])


def test_seeds_differ_in_weights_order_and_noise(smoke):
    device, dataset = torch.device("cpu"), splits.load(Places("smoke").data)
    first, second = (Trainer(smoke, smoke.paradigms["dit"], seed, device, dataset) for seed in (0, 1))
    assert not torch.equal(first.order, second.order)
    assert not torch.equal(first.weights, second.weights)


def test_an_epoch_shows_every_image_once():
    order = image_order(100, 7, 30, seed=0).flatten()
    assert len(order) == 210
    for epoch in (order[:100], order[100:200]):
        assert sorted(epoch.tolist()) == list(range(100))
    assert not torch.equal(order[:100], order[100:200])


def test_words_and_prompts_are_dropped_at_their_rates():
    settings = Training(
        images=1, batch_size=1, warmup=0, beta2=0.9, weight_decay=0, grad_clip=1, ema=0.9, prompt_drop=0.1,
        word_drop=0.2, checkpoint_seconds=1, snapshots=[],
    )  # fmt: skip
    prompt = torch.tensor([[4, 11, 15]]).expand(50_000, 3)
    dropped = drop_words(prompt, settings, torch.Generator().manual_seed(0))
    null = (dropped == vocabulary.NULL).all(1)
    assert float(null.double().mean()) == pytest.approx(0.1, abs=0.01)
    assert ((dropped == vocabulary.NULL).any(1) == null).all(), "a prompt is dropped whole"
    kept = dropped[~null]
    assert (kept[:, 0] == 4).all(), "the digit is never dropped alone"
    assert float((kept[:, 1] == vocabulary.ANY_WEIGHT).double().mean()) == pytest.approx(0.2, abs=0.01)
    assert float((kept[:, 2] == vocabulary.ANY_SLANT).double().mean()) == pytest.approx(0.2, abs=0.01)


def test_draws_of_time_are_uniform_and_even():
    draws = torch.stack([spread_uniform(64, torch.Generator().manual_seed(seed)) for seed in range(500)])
    assert draws.min() >= 0 and draws.max() < 1
    cells = (draws * 64).long().clamp(max=63)
    assert all(len(set(row.tolist())) >= 63 for row in cells), "one draw in each cell, up to rounding at its edge"
    assert torch.histc(draws[:, 0], 10, 0, 1) == pytest.approx(torch.full((10,), 50.0), abs=25)


def test_ema_is_a_weighted_mean_that_forgets_the_start():
    average, expected = torch.tensor([5.0]), 5.0
    for step in range(1, 200):
        ema.update(average, torch.tensor([float(step)]), 1 - ema.decay(step, 0.999))
        rate = min(0.999, (1 + step) / (10 + step))
        expected = rate * expected + (1 - rate) * step
    assert float(average) == pytest.approx(expected, rel=1e-5)
    assert ema.decay(0, 0.999) == 0.1 and ema.decay(10**6, 0.999) == 0.999


@pytest.mark.parametrize("name", ["unet", "dit"])
def test_flat_weights_train_like_separate_ones(name):
    """Against torch's own AdamW and clipping on the parameters as they are."""
    from diffbench.diffusion.networks import NETWORKS

    size = {"unet": {"channels": [8, 16], "blocks": 1, "heads": 2}, "dit": {"width": 16, "depth": 1}}[name]
    nets = []
    for _ in range(2):
        torch.manual_seed(0)
        nets.append(NETWORKS[name](8, True, **size).to(memory_format=torch.channels_last))
    first, second = nets
    weights = flat_parameters.flatten(first)
    separate = list(second.parameters())
    # An epsilon above the gradients' rounding: a bias before a norm of single channels has no other gradient.
    optimisers = [torch.optim.AdamW(group, lr=0.01, weight_decay=0.1, eps=1e-4) for group in ([weights], separate)]
    generator = torch.Generator().manual_seed(1)
    for _ in range(4):
        x = torch.randn(6, 1, 8, 8, generator=generator)
        t, prompt = torch.full((6,), 300.0), torch.tensor([[3, 11, 15]] * 6)
        for net, group, optimiser in zip(nets, ([weights], separate), optimisers, strict=True):
            optimiser.zero_grad(set_to_none=False)
            (net(x, t, prompt) - x).square().mean().backward()
            torch.nn.utils.clip_grad_norm_(group, 0.5)
            optimiser.step()
    for (key, value), other in zip(flat_parameters.unflatten(first, weights.detach()).items(), separate, strict=True):
        torch.testing.assert_close(value, other, rtol=1e-4, atol=1e-5, msg=key)
    torch.testing.assert_close(dict(first.state_dict()), dict(second.state_dict()), rtol=1e-4, atol=1e-5)


def test_a_model_file_of_another_network_is_refused(smoke, places):
    from diffbench.diffusion import model
    from diffbench.errors import UserError

    train.run(smoke, "dit", 0)
    path = places.train("dit", 0) / "model.safetensors"
    with pytest.raises(UserError, match="another network"):
        model.load(path, smoke.paradigms["sd3"], 8, torch.device("cpu"))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match="damaged"):
        model.load(path, smoke.paradigms["dit"], 8, torch.device("cpu"))


def test_a_pickle_is_not_opened(tmp_path):
    from diffbench.errors import UserError

    torch.save({"weights": torch.zeros(3)}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="damaged"):
        checkpoint.load(tmp_path / "model.safetensors")


def test_updates_are_those_of_torchs_adamw(smoke):
    """The functional form with our own state against the class, and without the second it takes to import it."""
    params = dataclasses.replace(smoke, training=dataclasses.replace(smoke.training, weight_decay=0.1))
    trainer = Trainer(params, params.paradigms["dit"], 0, torch.device("cpu"), splits.load(Places("smoke").data))
    other = torch.nn.Parameter(trainer.weights.detach().clone())
    theirs = torch.optim.AdamW([other], lr=1, betas=(0.9, params.training.beta2), weight_decay=0.1, fused=True)
    generator = torch.Generator().manual_seed(0)
    for n in range(5):
        gradient = torch.randn(len(other), generator=generator)
        trainer.weights.grad.copy_(gradient)
        other.grad = gradient.clone()
        theirs.param_groups[0]["lr"] = lr = 0.01 / (n + 1)
        trainer.optimise(lr)
        theirs.step()
    assert torch.equal(trainer.weights, other)


@pytest.mark.parametrize("paradigm", ["sd1", "dit", "sd3"])
def test_a_network_compiled_to_other_gradients_is_refused(smoke, places, monkeypatch, paradigm):
    """As torch 2.11 does on CUDA, where one parameter's gradient was never written."""
    compute = dataclasses.replace(smoke.compute, compile=True)
    params, device = dataclasses.replace(smoke, compute=compute), torch.device("cpu")
    dataset, row = splits.load(places.data), smoke.paradigms[paradigm]
    monkeypatch.setattr(model, "fuse", lambda denoiser, compute: None)
    same, plain = (Trainer(own, row, 0, device, dataset) for own in (params, smoke))
    for trainer in (same, plain):
        trainer.step()
    assert torch.equal(same.weights, plain.weights), "the comparison leaves no trace"
    found = same.gradients()
    assert all(float(gradient.norm()) > 0 for gradient in found), "no gradient hides behind a gate that starts at zero"
    assert disagreement(found, found) == 0
    largest = max(range(len(found)), key=lambda i: float(found[i].norm()))
    for factor in (0, 100, float("nan")):
        others = [factor * gradient if i == largest else gradient for i, gradient in enumerate(found)]
        assert not disagreement(found, others) < GRADIENTS_AGREE

    def broken(denoiser, compute):
        list(denoiser.net.parameters())[largest].register_hook(lambda gradient: 0 * gradient)

    monkeypatch.setattr(model, "fuse", broken)
    with pytest.raises(UserError, match=f"compiles {row.network} to wrong gradients"):
        Trainer(params, row, 0, device, dataset)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="records CUDA graphs")
@pytest.mark.parametrize("paradigm", ["ddpm", "sd1", "dit", "sd3"])
def test_recorded_steps_give_the_same_bytes(smoke, places, paradigm):
    compute = dataclasses.replace(smoke.compute, device="cuda", precision="bf16")
    dataset, found = splits.load(places.data), []
    for graphs in (False, True):
        params = dataclasses.replace(smoke, compute=dataclasses.replace(compute, graphs=graphs))
        trainer = Trainer(params, params.paradigms[paradigm], 0, prepare(params.compute), dataset)
        assert isinstance(trainer.learn, recorded.Recorded) == graphs
        for _ in range(5):
            trainer.step()
        found.append([getattr(trainer, name).detach().cpu() for name in STATE])
    assert all(torch.equal(plain, recorded) for plain, recorded in zip(*found, strict=True))


def test_training_does_not_import_the_compiler():
    code = """
import sys, torch
from torch.optim.adamw import adamw
p = torch.ones(3)
adamw([p], [p], [p * 0], [p * 0], [], [torch.zeros(())], fused=True, amsgrad=False, beta1=0.9, beta2=0.9, lr=0.1,
      weight_decay=0.0, eps=1e-8, maximize=False)
import diffbench.stages.train
print("torch._dynamo" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr[-500:]


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("c++"), reason="torch.compile needs a C++ compiler on a CPU")
@pytest.mark.parametrize("paradigm", ["sd1", "sd3"])
def test_compiled_networks_train_and_sample_the_same_but_for_rounding(smoke, places, paradigm):
    """Relative to the largest weight, and one grey level at most in one pixel of a hundred."""
    params = dataclasses.replace(smoke, training=dataclasses.replace(smoke.training, images=64 * 8))
    cell = Cell(sampler=params.paradigms[paradigm].samplers[0], steps=2, guidance=2.0)
    dataset, found = splits.load(places.data), []
    for compile in (False, True):
        own = dataclasses.replace(params, compute=dataclasses.replace(params.compute, compile=compile))
        train.run(own, paradigm, 0)
        path = places.train(paradigm, 0) / "model.safetensors"
        denoiser, _ = model.load(path, own.paradigms[paradigm], image_side(own), torch.device("cpu"))
        model.fuse(denoiser, own.compute)
        start = generate.starts(50, image_side(own), 0, "scored", torch.device("cpu"))
        prompt = captions.captions(dataset, 50, "scored")
        images, nfe, _ = generate.generate(denoiser, cell, prompt, start, dataset.levels, own, 0, "scored")
        found.append((checkpoint.load(path)[0], images.astype(int), nfe))
    (plain, images, nfe), (fused, other, same) = found
    assert nfe == same and list(plain) == list(fused), "the file knows nothing of it"
    assert max(float((plain[name] - fused[name]).abs().max()) for name in plain) < 1e-4
    assert any(not torch.equal(plain[name], fused[name]) for name in plain), "it was compiled"
    shift = np.abs(images - other)
    assert shift.max() <= 16 and (shift > 0).mean() < 0.01


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("c++"), reason="torch.compile needs a C++ compiler on a CPU")
@pytest.mark.parametrize(
    ("paradigm", "steps", "arms"),
    [
        ("sd3", "4", None),
        ("sd1", "2", None),
        ("sd1", "arms", None),
        ("sd1", "arms", ["interval"]),
        ("ddpm", "native", None),
    ],
)
def test_no_cells_clock_holds_a_compilation(smoke, places, monkeypatch, paradigm, steps, arms):
    """Not for guidance at 0 or in a part of the steps, another sampler, the second step, or a smaller last batch."""
    kept = {name: arm for name, arm in smoke.sampling.arms.get(paradigm, {}).items() if arms is None or name in arms}
    sampling = dataclasses.replace(
        smoke.sampling, batch_size=20, arms=smoke.sampling.arms | ({paradigm: kept} if kept else {})
    )
    train.run(smoke, paradigm, 0)
    torch._dynamo.reset()  # it gives up on code that earlier tests had compiled too often
    graphs, timed = torch._dynamo.utils.counters["stats"], []

    @contextmanager
    def hold(device, *, alone):
        before = graphs["unique_graphs"]
        yield
        if alone:
            timed.append(graphs["unique_graphs"] - before)

    monkeypatch.setattr(sample, "hold", hold)
    compute = dataclasses.replace(smoke.compute, compile=True)
    compiled = dataclasses.replace(smoke, compute=compute, sampling=sampling)
    before = graphs["unique_graphs"]
    sample.run(compiled, paradigm, 0, steps)
    assert graphs["unique_graphs"] > before, "it was compiled"
    assert timed == [0] * len(design.cells(compiled, paradigm, 0, steps)) != []
