"""Noise that depends on the image it is for, and on nothing else."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffbench import rng


@given(start=st.integers(0, 350), length=st.integers(1, 260), cut=st.integers(1, 259))
@settings(max_examples=30)
def test_noise_of_an_image_does_not_depend_on_the_batch(start, length, cut):
    whole = rng.image_noise(0, 700, (1, 2, 2), 0, "test")
    stop, middle = start + length, start + min(cut, length)
    parts = [rng.image_noise(a, b, (1, 2, 2), 0, "test") for a, b in ((start, middle), (middle, stop)) if b > a]
    assert torch.equal(torch.cat(parts), whole[start:stop])


def test_noise_depends_on_seed_purpose_and_step():
    keys = [(0, "a"), (1, "a"), (0, "b"), (0, "a", "step", 1), (0, "a", "step", 2)]
    draws = [rng.image_noise(0, 10, (4,), *key) for key in keys]
    assert len({tuple(draw.flatten().tolist()) for draw in draws}) == len(keys)


def test_noise_is_normal_and_shards_are_unrelated():
    noise = rng.image_noise(0, 20_000, (4,), 3, "normal")
    assert abs(float(noise.mean())) < 0.02 and abs(float(noise.std()) - 1) < 0.02
    first, second = noise[: rng.SHARD].flatten(), noise[rng.SHARD : 2 * rng.SHARD].flatten()
    assert abs(float(torch.corrcoef(torch.stack([first, second]))[0, 1])) < 0.2


def test_the_global_generator_is_not_touched():
    before = torch.get_rng_state()
    rng.image_noise(0, 5, (3,), 0, "quiet")
    assert torch.equal(before, torch.get_rng_state())


def test_seeds_are_separated_and_fit_a_generator():
    assert rng.seed_of(1, "12") != rng.seed_of("11", 2) != rng.seed_of(1, 12, "")
    assert all(0 <= rng.seed_of(i) < 2**63 for i in range(100))
