"""Which words a cell's samples show for those asked for, and which samples are shown as its worst."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diffbench.data import prompts
from diffbench.data.vocabulary import FIRST_SLANT, FIRST_WEIGHT
from diffbench.evaluation.failures import confusion, departure, failures, word_confusion


def drawn(seed: int, count: int = 60):
    """Images, prompts and bounds that have nothing to do with one another."""
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, (count, 8, 8), np.uint8)
    images[generator.random(images.shape) < generator.random((count, 1, 1))] = 0
    labels = np.arange(count) % 10
    bounds = np.stack([prompts.terciles(of(images), labels) for of in (prompts.weight, prompts.slant)])
    words = generator.integers(0, 3, (count, 2)) + np.array([FIRST_WEIGHT, FIRST_SLANT])
    return images, np.column_stack([labels, words]), bounds


@given(st.integers(0, 10_000))
def test_a_departure_is_above_zero_where_the_word_is_another(seed):
    images, prompt, bounds = drawn(seed)
    found = departure(images, prompt, bounds)
    shown = prompts.caption(images, prompt[:, 0], bounds)
    for axis in (0, 1):
        other = shown[:, axis + 1] != prompt[:, axis + 1]
        assert (found[axis][~other] <= 0).all() and (found[axis][other] >= 0).all()


def test_a_departure_is_in_widths_of_the_middle_word():
    images = np.zeros((3, 8, 8), np.uint8)
    for row, pixels in enumerate((4, 12, 30)):
        images[row].reshape(-1)[:pixels] = 255
    bounds = np.array([[[10.0, 15.0]] * 10, [[-9.0, 9.0]] * 10])
    bold = np.array([[7, FIRST_WEIGHT + 2, FIRST_SLANT + 1]] * 3)
    assert departure(images, bold, bounds)[0] == pytest.approx([(15 - 4) / 5, (15 - 12) / 5, (15 - 30) / 5])
    light = np.array([[7, FIRST_WEIGHT, FIRST_SLANT + 1]] * 3)
    assert departure(images, light, bounds)[0] == pytest.approx([(4 - 10) / 5, (12 - 10) / 5, (30 - 10) / 5])


@given(st.integers(0, 10_000))
def test_words_are_counted_as_the_errors_count_them(seed):
    from diffbench.evaluation.metrics.adherence import errors

    images, prompt, bounds = drawn(seed)
    logits = torch.nn.functional.one_hot(torch.from_numpy(prompt[:, 0]), 10).float()
    rows = word_confusion(images, prompt, bounds)
    found = errors(images, logits, prompt, bounds)
    for axis, error in (("weight", found.weight_error), ("slant", found.slant_error)):
        own = [row for row in rows if row["axis"] == axis]
        assert sum(row["images"] for row in own) == len(images)
        assert sum(row["images"] for row in own if row["asked"] != row["shown"]) / len(images) == pytest.approx(error)


def test_the_worst_of_each_kind_come_first_and_none_has_two_faults_of_different_kinds():
    images, prompt, bounds = drawn(3, 200)
    generator = torch.Generator().manual_seed(0)
    asked = torch.nn.functional.one_hot(torch.from_numpy(prompt[:, 0]), 10)
    logits = torch.randn(200, 10, generator=generator) + 3 * asked
    found = failures(images, logits, prompt, bounds)
    assert set(found) == {"wrong", "unsure", "weight", "slant"} and all(len(rows) == 10 for rows in found.values())
    assert all(row["shown"] != row["asked"] for row in found["wrong"])
    assert all(row["shown"] == row["asked"] for kind in ("unsure", "weight", "slant") for row in found[kind])
    sure = [[row["confidence"] for row in found[kind]] for kind in ("wrong", "unsure")]
    assert sure[0] == sorted(sure[0], reverse=True) and sure[1] == sorted(sure[1])
    for axis, kind in enumerate(("weight", "slant")):
        far = departure(images, prompt, bounds)[axis]
        index = [row["index"] for row in found[kind]]
        assert [far[i] for i in index] == sorted((far[i] for i in index), reverse=True)
        right = logits.argmax(dim=1).numpy() == prompt[:, 0]
        assert far[index[0]] == far[right].max() > 0
        assert all(row["asked_word"] != row["shown_word"] for row in found[kind])


def test_without_prompts_only_doubt_is_a_failure():
    images, _, bounds = drawn(1)
    found = failures(images, torch.randn(60, 10), None, bounds)
    assert not found["wrong"] and len(found["unsure"]) == 10 and not set(found) & {"weight", "slant"}
    assert "asked" not in found["unsure"][0]


def test_pairs_of_digits_that_occur_are_counted():
    prompt = np.array([[4, 0, 0], [4, 0, 0], [7, 0, 0]])
    assert confusion(np.array([9, 9, 7]), prompt) == [
        {"asked": 4, "shown": 9, "images": 2}, {"asked": 7, "shown": 7, "images": 1},
    ]  # fmt: skip
