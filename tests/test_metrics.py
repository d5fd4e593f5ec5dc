"""Metrics against closed forms and independent implementations."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from prdc import compute_prdc
from scipy.linalg import sqrtm

from diffbench.metrics.adherence import digit_error, word_errors
from diffbench.metrics.frechet import Frechet
from diffbench.metrics.manifold import CHUNK, Manifold


def clouds(real: int, fake: int, width: int, shift: float = 0.3, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    first = torch.randn(real, width, generator=generator)
    return first, 1.2 * torch.randn(fake, width, generator=generator) + shift


def test_fid_of_a_shift_is_its_square():
    real, _ = clouds(500, 0, 8)
    shift = torch.linspace(-1, 1, 8)
    assert Frechet(real)(real + shift) == pytest.approx(float(shift.square().sum()), rel=1e-5)


def test_fid_agrees_with_the_matrix_square_root():
    real, fake = clouds(700, 300, 12)
    a, b = real.double().numpy(), fake.double().numpy()
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(first + second - 2 * sqrtm(first @ second).real)
    assert Frechet(real)(fake) == pytest.approx(expected, rel=1e-6)


def test_fid_keeps_its_reference_and_forgets_its_samples():
    real, fake = clouds(400, 400, 6)
    metric = Frechet(real)
    first = metric(fake)
    metric(fake + 3)
    assert metric(fake) == first


def test_fid_of_identical_sets_is_zero_even_without_full_rank():
    real, _ = clouds(10, 0, 40)
    assert Frechet(real)(real) == pytest.approx(0, abs=1e-6)
    assert Frechet(torch.ones(20, 4))(torch.ones(20, 4)) == 0


@pytest.mark.parametrize("bad", [torch.zeros(1, 4), torch.zeros(9, 5), torch.full((9, 4), torch.nan)])
def test_fid_refuses_what_it_cannot_measure(bad):
    with pytest.raises(ValueError):
        Frechet(torch.randn(20, 4))(bad)


@given(
    real=st.integers(12, 300),
    fake=st.integers(12, 300),
    k=st.integers(1, 8),
    shift=st.floats(0, 3),
    seed=st.integers(0, 99),
)
@settings(max_examples=30)
def test_prdc_agrees_with_the_reference_implementation(real, fake, k, shift, seed):
    a, b = clouds(real, fake, 5, shift, seed)
    theirs = compute_prdc(a.double().numpy(), b.double().numpy(), nearest_k=k)
    assert Manifold(a, k)(b)._asdict() == pytest.approx(theirs, abs=1e-4)


def test_prdc_in_chunks_is_prdc():
    a, b = clouds(CHUNK + 50, CHUNK + 20, 3)
    theirs = compute_prdc(a.double().numpy(), b.double().numpy(), nearest_k=5)
    assert Manifold(a, 5)(b)._asdict() == pytest.approx(theirs, abs=1e-4)


def test_prdc_sees_what_each_measure_is_for():
    real, _ = clouds(600, 0, 4)
    same = torch.randn(600, 4, generator=torch.Generator().manual_seed(9))
    measure = Manifold(real, 5)
    assert measure(same).coverage == pytest.approx(1 - 2**-5, abs=0.03)
    tight = measure(0.2 * same)
    assert tight.precision > 0.97 and tight.recall < 0.5
    far = measure(same + 50)
    assert far == (0, 0, 0, 0)


def test_prdc_of_constant_sets_is_zero_and_too_few_are_refused():
    assert Manifold(torch.ones(20, 4), 5)(torch.ones(20, 4)) == (0, 0, 0, 0)
    with pytest.raises(ValueError, match="5 real samples; more than k = 5"):
        Manifold(torch.randn(5, 4), 5)
    with pytest.raises(ValueError, match="4 samples; more than k = 5"):
        Manifold(torch.randn(50, 4), 5)(torch.randn(4, 4))
    with pytest.raises(ValueError, match="not finite"):
        Manifold(torch.randn(50, 4), 5)(torch.full((9, 4), torch.inf))


def test_digit_error_counts_other_digits():
    logits = torch.eye(10)[[3, 4, 5, 5]]
    prompt = torch.tensor([[3, 0, 0], [4, 0, 0], [5, 0, 0], [6, 0, 0]])
    assert digit_error(logits, prompt) == 0.25


def test_word_errors_of_real_images_with_their_own_captions_are_zero(smoke, places):
    from diffbench.data import splits

    dataset = splits.load(places.data)
    test = dataset.test
    assert word_errors(test.images, test.prompts, dataset.bounds) == (0, 0)
    wrong = test.prompts.copy()
    wrong[:, 1] = 10 + (wrong[:, 1] - 9) % 3
    assert word_errors(test.images, wrong, dataset.bounds) == (1, 0)
