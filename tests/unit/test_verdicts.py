"""Verdicts: errors at most as promised, power where there is an effect, and the numbers of two other libraries."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_paired

from diffbench.claims import verdicts
from diffbench.claims.verdicts import P, judge

MARGIN, TRIALS = 0.1, 1500


def simulated(truth: float, sd: float, n: int, seed: int = 0, trials: int = TRIALS) -> np.ndarray:
    """Effects of many runs with n seeds each, (trials, n)."""
    return np.random.default_rng([seed, n]).normal(truth, sd, (trials, n))


def share(test: str, wanted: str, effects: np.ndarray) -> float:
    return np.mean([verdicts.p_values(test, row, MARGIN).verdict() == wanted for row in effects])


def at_most_5_percent(rate: float, trials: int = TRIALS) -> bool:
    """Whether the exact 99.9% binomial interval of a rate over trials reaches down to 5%."""
    found = stats.binomtest(round(rate * trials), trials, 0.05, alternative="greater")
    return found.proportion_ci(0.999).low <= 0.05


@pytest.mark.parametrize("n", [2, 3, 5])
@pytest.mark.parametrize("sd", [0.02, 0.3])
@pytest.mark.parametrize(
    ("test", "wrong", "truth"),
    [
        ("difference", "supported", MARGIN),  # the largest effect of which the claim is false
        ("difference", "supported", 0.0),
        ("difference", "contradicted", 0.0),  # the least of which the other direction is false
        ("difference", "equivalent", MARGIN),
        ("difference", "equivalent", -MARGIN),
        ("noninferior", "supported", -MARGIN),
        ("noninferior", "contradicted", -MARGIN),
        ("equivalent", "supported", MARGIN),
        ("equivalent", "contradicted", MARGIN),
        ("equivalent", "contradicted", 0.0),
    ],
)
def test_wrong_verdicts_are_at_most_5_percent(test, wrong, truth, sd, n):
    rate = share(test, wrong, simulated(truth, sd, n))
    assert at_most_5_percent(rate), rate


def test_noise_far_above_the_margin_does_not_contradict_an_equivalence():
    rate = share("equivalent", "contradicted", simulated(0.0, 10.0, 3))
    assert at_most_5_percent(rate), rate


def test_the_check_of_5_percent_can_fail():
    assert at_most_5_percent(0.05) and not at_most_5_percent(0.08)
    values = simulated(MARGIN, 0.3, 3)
    careless = np.mean([stats.ttest_1samp(row, MARGIN, alternative="greater").pvalue <= 0.10 for row in values])
    assert not at_most_5_percent(careless)


def combined(combine, test: str, truths: list[float], trials: int = TRIALS) -> list[str]:
    columns = [simulated(truth, 0.3, 3, seed, trials) for seed, truth in enumerate(truths)]
    return [
        combine([verdicts.p_values(test, column[i], MARGIN) for column in columns]).verdict() for i in range(trials)
    ]


@pytest.mark.parametrize(
    ("combine", "test", "truths", "wrong"),
    [
        (verdicts.all_of, "difference", [MARGIN, 9.0, 9.0], "supported"),  # one part is false: nothing to correct
        (verdicts.all_of, "noninferior", [-MARGIN] * 4, "contradicted"),  # any of four could refute by chance
        (verdicts.all_of, "difference", [0.0] * 4, "contradicted"),
        (verdicts.any_of, "noninferior", [-MARGIN] * 3, "supported"),
        (verdicts.any_of, "noninferior", [-MARGIN, -9.0, -9.0], "contradicted"),  # one reading holds
    ],
)
def test_claims_of_several_parts_are_wrong_at_most_5_percent(combine, test, truths, wrong):
    rate = np.mean([verdict == wrong for verdict in combined(combine, test, truths)])
    assert at_most_5_percent(rate), rate


@pytest.mark.parametrize("test", ["difference", "noninferior"])
def test_power_rises_with_the_effect_and_with_the_seeds(test):
    bound = {"difference": MARGIN, "noninferior": -MARGIN}[test]
    rates = [share(test, "supported", simulated(bound + step * 0.1, 0.1, 3, trials=1000)) for step in range(6)]
    assert rates == sorted(rates) and rates[0] < 0.08 and rates[-1] > 0.9
    more = [share(test, "supported", simulated(bound + 0.1, 0.1, n, trials=1000)) for n in (2, 3, 5, 10)]
    assert more == sorted(more) and more[-1] > 0.85


@pytest.mark.parametrize("n", [2, 3, 6])
def test_the_smallest_detectable_effect_is_supported_four_times_in_five(n):
    sd = 0.2
    effects = simulated(0, 1, n)[0]
    effects = (effects - effects.mean()) / effects.std(ddof=1) * sd
    for test in ("difference", "noninferior"):
        truth = judge(test, effects, MARGIN).detectable
        rate = share(test, "supported", simulated(truth, sd, n, seed=1, trials=3000))
        assert rate == pytest.approx(0.8, abs=0.03)


def test_as_many_seeds_as_are_said_to_be_needed_decide_four_times_in_five():
    open_ = judge("difference", [0.05, 0.3, 0.4], MARGIN)
    assert open_.verdict == "inconclusive" and 3 < open_.needed < 50
    sd = np.std([0.05, 0.3, 0.4], ddof=1)
    rates = [share("difference", "supported", simulated(open_.effect, sd, n)) for n in (open_.needed - 1, open_.needed)]
    assert rates[0] < 0.815 and rates[1] > 0.785


@pytest.mark.parametrize(
    ("test", "effects", "verdict"),
    [
        ("difference", [0.30, 0.32, 0.31], "supported"),
        ("difference", [-0.30, -0.32, -0.31], "contradicted"),
        ("difference", [-0.30, -0.10, -0.20], "contradicted"),  # below 0, and the mean below the margin
        ("difference", [0.01, -0.02, 0.02], "equivalent"),
        ("difference", [-0.05, -0.04, -0.045], "equivalent"),  # certain and trifling
        ("difference", [0.5, -0.1, 0.6], "inconclusive"),
        ("noninferior", [-0.02, 0.01, -0.01], "supported"),
        ("noninferior", [-0.30, -0.32, -0.31], "contradicted"),
        ("noninferior", [-0.3, 0.2, 0.0], "inconclusive"),
        ("equivalent", [0.01, -0.02, 0.02], "supported"),
        ("equivalent", [0.30, 0.32, 0.31], "contradicted"),
        ("equivalent", [-0.30, -0.32, -0.31], "contradicted"),
        ("equivalent", [-0.3, 0.2, 0.0], "inconclusive"),
    ],
)
def test_every_verdict_is_reached(test, effects, verdict):
    found = judge(test, effects, MARGIN)
    assert found.verdict == verdict
    assert (found.needed is None) == (verdict != "inconclusive")


def test_equal_effects_divide_by_nothing():
    for value, verdict in ((0.2, "supported"), (-0.2, "contradicted"), (0.05, "equivalent"), (0.0, "equivalent")):
        found = judge("difference", [value] * 3, MARGIN)
        assert found.verdict == verdict and (found.low, found.high) == pytest.approx((value, value))
    at_the_margin = judge("difference", [MARGIN] * 3, MARGIN)
    assert at_the_margin.verdict == "inconclusive" and at_the_margin.needed is None
    rounding = judge("difference", [0.3, 0.1 + 0.2, 0.3], MARGIN)
    assert rounding.verdict == "supported" and rounding.high - rounding.low < 1e-9
    assert judge("difference", [0.0, 0.0], 0.0).verdict == "inconclusive"


@settings(max_examples=40)
@given(st.lists(st.floats(-2, 2), min_size=2, max_size=8), st.floats(0.01, 1))
def test_tests_are_those_of_scipy_and_statsmodels(effects, margin):
    values = np.array(effects)
    if np.std(values) < 1e-6:
        return
    for bound in (margin, -margin, 0.0):
        above = stats.ttest_1samp(values, bound, alternative="greater").pvalue
        assert verdicts.above(values, bound) == pytest.approx(above, abs=1e-9)
        assert verdicts.below(values, bound) == pytest.approx(1 - above, abs=1e-9)
    left = np.linspace(1, 2, len(values))
    assert verdicts.within(values, margin) == pytest.approx(
        ttost_paired(left + values, left, -margin, margin)[0], abs=1e-6
    )
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.90)
    found = judge("difference", effects, margin)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-6, abs=1e-9)


@settings(max_examples=40)
@given(st.lists(st.floats(-2, 2), min_size=2, max_size=6), st.floats(0.01, 1))
def test_the_interval_and_the_p_values_decide_alike(effects, margin):
    found = judge("difference", effects, margin)
    near = min(abs(end - bound) for end in (found.low, found.high) for bound in (-margin, 0, margin)) < 1e-9
    if near or abs(found.effect + margin) < 1e-9:
        return
    expected = "inconclusive"
    if found.low > margin:
        expected = "supported"
    elif -margin < found.low and found.high < margin:
        expected = "equivalent"
    elif found.high < 0 and found.effect < -margin:
        expected = "contradicted"
    assert found.verdict == expected


@settings(max_examples=40)
@given(st.lists(st.integers(0, 1000).map(lambda k: k / 1000), min_size=1, max_size=18))
def test_holm_is_that_of_statsmodels(p):
    assert verdicts.holm(p) == pytest.approx(multipletests(p, method="holm")[1].tolist())


def test_holm_of_nothing_is_nothing():
    assert verdicts.holm([]) == []


@pytest.mark.parametrize(
    ("test", "effects", "margin"),
    [("guess", [1, 2], 0.1), ("difference", [1], 0.1), ("difference", [1, math.nan], 0.1), ("difference", [1, 2], -1)],
)
def test_what_cannot_be_judged_is_refused(test, effects, margin):
    with pytest.raises(ValueError, match="margin"):
        judge(test, effects, margin)


def test_a_refuted_part_outweighs_supported_ones():
    good, bad = P(supported=1e-6), P(contradicted=1e-6)
    assert verdicts.all_of([good, bad]).verdict() == "contradicted"
    assert verdicts.any_of([good, bad]).verdict() == "supported"
    assert verdicts.all_of([good, good]).verdict() == "supported"
    assert verdicts.any_of([bad, bad]).verdict() == "contradicted"
    assert verdicts.any_of([bad, P()]).verdict() == "inconclusive"
