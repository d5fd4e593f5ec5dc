"""Prompts and the attributes they name, on images drawn by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffbench.data import prompts, vocabulary


def bar(lean: float = 0.0, thickness: int = 2, side: int = 28) -> np.ndarray:
    """A white stroke from bottom to top whose upper end lies ``lean`` pixels to the right per pixel of height."""
    image = np.zeros((side, side), np.uint8)
    for y in range(4, side - 4):
        x = side / 2 + lean * (side / 2 - y)
        covered = np.clip(thickness / 2 + 0.5 - np.abs(np.arange(side) - x), 0, 1)  # anti-aliased
        image[y] = np.round(255 * covered)
    return image


@pytest.mark.parametrize("lean", [-0.5, -0.25, 0.0, 0.25, 0.5])
def test_slant_is_pixels_to_the_right_per_pixel_upwards(lean):
    assert float(prompts.slant(bar(lean)[None])[0]) == pytest.approx(lean, abs=0.01)


def test_slant_changes_sign_in_the_mirror_and_not_with_position():
    image = bar(0.3)
    slants = prompts.slant(np.stack([image, image[:, ::-1], np.roll(image, 3, axis=1), np.roll(image, 2, axis=0)]))
    assert slants[1] == pytest.approx(-slants[0], abs=1e-6)
    assert slants[2:] == pytest.approx(np.repeat(slants[0], 2), abs=1e-6)


@pytest.mark.parametrize("thickness", [1, 2, 5])
def test_weight_is_the_ink_in_pixels(thickness):
    assert float(prompts.weight(bar(thickness=thickness)[None])[0]) == pytest.approx(20 * thickness, rel=0.01)


def test_soft_ink_ignores_haze():
    image = bar(0.3)
    hazy = np.maximum(image, 30)
    assert np.array_equal(prompts.soft_ink(image), prompts.soft_ink(hazy))


def test_degenerate_images_have_slant_zero():
    row = np.zeros((28, 28), np.uint8)
    row[5] = 255
    assert prompts.slant(np.stack([np.zeros((28, 28), np.uint8), row])).tolist() == [0, 0]


def strokes(count: int = 900):
    generator = np.random.default_rng(0)
    labels = np.arange(count) % 10
    leans = generator.uniform(-0.6, 0.6, count) + labels * 0.05
    images = np.stack(
        [bar(lean, thickness) for lean, thickness in zip(leans, generator.integers(1, 7, count), strict=True)]
    )
    return images, labels, leans


def test_words_are_terciles_within_a_digit():
    images, labels, leans = strokes()
    bounds = np.stack([prompts.terciles(measure(images), labels) for measure in (prompts.weight, prompts.slant)])
    captions = prompts.caption(images, labels, bounds)
    assert np.array_equal(captions[:, 0], labels)
    for digit in range(10):
        slants = captions[labels == digit, 2] - vocabulary.FIRST_SLANT
        assert np.bincount(slants, minlength=3) == pytest.approx([30, 30, 30], abs=2)
        order = np.argsort(leans[labels == digit])
        assert slants[order][0] == 0 and slants[order][-1] == 2
    thick = bar(0.0, 8)[None]
    assert prompts.text(prompts.caption(thick, np.array([7]), bounds)[0]) == "bold left-slanted 7"


def test_words_have_their_own_tokens():
    assert len(set(vocabulary.VOCABULARY)) == len(vocabulary.VOCABULARY) == 19
    named = [
        vocabulary.VOCABULARY[i]
        for i in (vocabulary.FIRST_WEIGHT, vocabulary.ANY_WEIGHT, vocabulary.FIRST_SLANT, vocabulary.NULL)
    ]
    assert named == ["light", "any weight", "left-slanted", "null"]


def test_a_missing_digit_is_named():
    with pytest.raises(ValueError, match="no training image of digit 4"):
        prompts.terciles(np.arange(90.0), np.array([d for d in range(10) if d != 4] * 10))


@given(counts=st.lists(st.integers(1, 10_000), min_size=1, max_size=20), total=st.integers(0, 20_000))
def test_largest_remainder_is_proportional_and_exact(counts, total):
    shares = prompts.largest_remainder(np.array(counts), total)
    exact = np.array(counts) * total / sum(counts)
    assert shares.sum() == total and (np.abs(shares - exact) < 1 + 1e-9).all()


@given(count=st.integers(1, 2000), seed=st.integers(0, 1000))
def test_stratified_lists_follow_the_reference(count, seed):
    generator = np.random.default_rng(7)
    digits = generator.choice(10, 3000, p=np.arange(1, 11) / 55)
    reference = np.stack([digits, generator.integers(10, 13, 3000), generator.integers(14, 17, 3000)], axis=1)
    chosen = prompts.stratified(reference, count, np.random.default_rng(seed))
    assert chosen.shape == (count, 3)
    expected = np.bincount(digits, minlength=10) * count / 3000
    assert (np.abs(np.bincount(chosen[:, 0], minlength=10) - expected) < 1).all()
    assert np.array_equal(chosen, prompts.stratified(reference, count, np.random.default_rng(seed)))
