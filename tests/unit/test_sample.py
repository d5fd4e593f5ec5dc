"""The sample and evaluate stages on a small trained network."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from PIL import Image

from diffbench import design
from diffbench.data import captions, splits
from diffbench.design import Cell
from diffbench.diffusion import generate, model
from diffbench.runtime import npz
from diffbench.stages import evaluate, sample, train
from diffbench.tables import pictures


@pytest.fixture
def trained(smoke, places):
    train.run(smoke, "sd3", 0)
    return smoke


def test_the_grid_is_sampled_and_scored(trained, places):
    for steps in design.step_values(trained, "sd3"):
        sample.run(trained, "sd3", 0, steps)
    with np.load(places.samples("sd3", 0, "2")) as file:
        assert file["images"].shape == (7, 50, 8, 8) and file["images"].dtype == np.uint8
        assert file["selection"].shape == (2, 50, 8, 8)
        levels = set(np.unique(file["images"]).tolist())
        assert not np.array_equal(file["images"][1, :50], file["selection"][0]), (
            "selection images have noise of their own"
        )
    assert levels <= set(np.round(np.arange(17) * 255 / 16).astype(int).tolist())
    evaluate.run(trained, "sd3", 0)
    scores = json.loads(places.evaluation("sd3", 0).read_text())
    assert [(cell["sampler"], cell["steps"], cell["guidance"], cell["nfe"]) for cell in scores["cells"]] == [
        ("euler", 2, 0.0, 2), ("euler", 2, 1.0, 2), ("euler", 2, 2.0, 4),
        ("heun", 2, 1.0, 3), ("heun", 2, 2.0, 6), ("dpmpp-2m", 2, 1.0, 2), ("dpmpp-2m", 2, 2.0, 4),
        ("euler", 4, 1.0, 4), ("euler", 4, 2.0, 8),
        ("heun", 4, 1.0, 7), ("heun", 4, 2.0, 14), ("dpmpp-2m", 4, 1.0, 4), ("dpmpp-2m", 4, 2.0, 8),
    ]  # fmt: skip
    assert [(row["sampler"], row["guidance"]) for row in scores["selection"]] == [("euler", 1.0), ("euler", 2.0)]
    assert scores["cells"][0]["digit_error"] is None, "without a prompt there is no wrong digit"
    assert all(0 <= cell["digit_error"] <= 1 for cell in scores["cells"][1:])
    costs = json.loads(places.clock("sd3", 0).read_text())
    assert all(cost["seconds_per_1000"] > 0 and cost["peak_memory_bytes"] > 1e6 for cost in costs)
    with Image.open(places.evaluation("sd3", 0).with_suffix(".png")) as picture:
        assert picture.size == (80, 13 * pictures.STRIPS * 8)


def test_an_unconditional_row_shows_the_same_samples_as_the_others(smoke, places):
    """The page puts its strips beside the others' as made from the same noise, which goes by the sample's index."""
    train.run(smoke, "ddpm", 0)
    for steps in design.step_values(smoke, "ddpm"):
        sample.run(smoke, "ddpm", 0, steps)
    evaluate.run(smoke, "ddpm", 0)
    prompt = captions.captions(splits.load(places.data), smoke.sampling.images, "scored")
    index = pictures.shown_samples(prompt)
    assert list(prompt[index, 0]) == 2 * list(range(10)) and list(index) != list(range(20))
    images = npz.load_arrays(places.samples("ddpm", 0, design.step_values(smoke, "ddpm")[0]))["images"][0, index]
    pictures.sheet(pictures.strips(images), places.evaluation("ddpm", 0).with_name("expected.png"))
    with (
        Image.open(places.evaluation("ddpm", 0).with_name("expected.png")) as expected,
        Image.open(places.evaluation("ddpm", 0).with_suffix(".png")) as sheet,
    ):
        first = np.asarray(sheet)[: 8 * pictures.STRIPS]
        assert (first == np.asarray(expected)).all()


def test_sampling_again_gives_the_same_bytes(trained, places):
    sample.run(trained, "sd3", 0, "4")
    first = places.samples("sd3", 0, "4").read_bytes()
    sample.run(trained, "sd3", 0, "4")
    assert places.samples("sd3", 0, "4").read_bytes() == first


@pytest.mark.parametrize(("paradigm", "steps"), [("sd3", "4"), ("ddpm", "4")])
def test_batch_size_moves_a_sample_by_rounding_only(smoke, places, paradigm, steps):
    """One grey level at most, in at most one pixel of a thousand; kernels differ between batch sizes."""
    train.run(smoke, paradigm, 0)
    drawn = []
    for batch in (7, 512):
        params = dataclasses.replace(smoke, sampling=dataclasses.replace(smoke.sampling, batch_size=batch, images=520))
        sample.run(params, paradigm, 0, steps)
        with np.load(places.samples(paradigm, 0, steps)) as file:
            drawn.append(file["images"].astype(int))
    difference = np.abs(drawn[0] - drawn[1])
    assert difference.max() <= 16 and (difference > 0).mean() < 0.001


def test_a_guided_cell_starts_from_the_same_noise(trained, places):
    net, _ = model.load(places.train("sd3", 0) / "model.safetensors", trained.paradigms["sd3"], 8, torch.device("cpu"))
    starts = []
    net.net.register_forward_pre_hook(lambda _, inputs: starts.append(inputs[0][:3].clone()))
    noise = generate.starts(3, 8, 0, "scored", torch.device("cpu"))
    prompt = torch.from_numpy(captions.captions(splits.load(places.data), 3, "scored"))
    for steps, scale in ((2, 1.0), (4, 1.0), (4, 2.0)):
        starts.append("cell")
        generate.draw(net, Cell(sampler="euler", steps=steps, guidance=scale), prompt, noise, 0, 0, "scored", clip=True)
    first = [starts[i + 1] for i, value in enumerate(starts) if isinstance(value, str)]
    assert all(torch.equal(first[0], other) for other in first[1:])


def test_captions_are_fixed_and_follow_their_split(smoke, places):
    dataset = splits.load(places.data)
    scored, selection = (captions.captions(dataset, 400, purpose) for purpose in ("scored", "selection"))
    assert np.array_equal(scored, captions.captions(dataset, 400, "scored"))
    assert not np.array_equal(scored, selection)
    counts = np.bincount(scored[:, 0], minlength=10)
    expected = np.bincount(dataset.train.labels, minlength=10) * 400 / len(dataset.train.labels)
    assert np.abs(counts - expected).max() < 1


def test_samples_that_are_not_finite_fail_their_cell(trained, places, monkeypatch):
    plain = generate.draw

    def broken(denoiser, cell, *arguments, **options):
        x, nfe = plain(denoiser, cell, *arguments, **options)
        return (torch.full_like(x, torch.nan) if cell.guidance == 2 else x), nfe

    monkeypatch.setattr(generate, "draw", broken)
    for steps in design.step_values(trained, "sd3"):
        sample.run(trained, "sd3", 0, steps)
    evaluate.run(trained, "sd3", 0)
    found = json.loads(places.evaluation("sd3", 0).read_text())
    cells = found["cells"]
    assert [cell["status"] for cell in cells] == ["failed" if cell["guidance"] == 2 else "ok" for cell in cells]
    assert [(row["guidance"], row["fid"] is None) for row in found["selection"]] == [(1.0, False), (2.0, True)]
    assert {cell["fid"] is None for cell in cells if cell["status"] == "failed"} == {True}


def test_an_arm_is_sampled_with_its_options(smoke, places):
    """Leading spacing starts lower and so looks brighter or darker; trailing as an arm is the grid's own cell."""
    train.run(smoke, "sd1", 0)
    for steps in design.step_values(smoke, "sd1"):
        sample.run(smoke, "sd1", 0, steps)
    with np.load(places.samples("sd1", 0, "arms")) as file, np.load(places.samples("sd1", 0, "4")) as grid:
        arms = {
            cell.arm: images for cell, images in zip(design.cells(smoke, "sd1", 0, "arms"), file["images"], strict=True)
        }
        plain = {
            c.guidance: images for c, images in zip(design.cells(smoke, "sd1", 0, "4"), grid["images"], strict=True)
        }
    assert np.array_equal(arms["trailing"], plain[1.0])
    assert not np.array_equal(arms["leading"], arms["trailing"])
    assert not np.array_equal(arms["interval"], arms["rescale"])
    evaluate.run(smoke, "sd1", 0)
    scored = {cell["arm"]: cell for cell in json.loads(places.evaluation("sd1", 0).read_text())["cells"]}
    inside = scored["interval"]["nfe"] - 4
    assert 0 < inside < 4, "only the steps inside the interval pay for guidance"
    assert scored["leading"]["brightness"] == pytest.approx(arms["leading"].mean() / 255)


def test_an_arm_in_float32_is_the_cell_of_a_float32_run(trained, places):
    """In a run with bf16, whose own cells differ; the network is the same."""
    cells = {"low": {}, "high": {"precision": "float32"}}
    arms = {"sd3": {name: {"sampler": "euler", "steps": 4, "guidance": 1, **own} for name, own in cells.items()}}
    sampling = dataclasses.replace(trained.sampling, arms=arms)
    drawn = {}
    for precision in ("bf16", "float32"):
        compute = dataclasses.replace(trained.compute, precision=precision)
        sample.run(dataclasses.replace(trained, sampling=sampling, compute=compute), "sd3", 0, "arms")
        with np.load(places.samples("sd3", 0, "arms")) as file:
            drawn[precision] = file["images"].astype(int)
    assert np.array_equal(drawn["bf16"][1], drawn["float32"][1])
    assert np.array_equal(drawn["float32"][0], drawn["float32"][1])
    shift = np.abs(drawn["bf16"][0] - drawn["float32"][0])
    assert 0 < shift.mean() < 8, "of 256 grey levels"
