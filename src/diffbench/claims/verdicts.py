"""From one effect a training seed to a verdict: t tests, and nothing that depends on where the effects come from.

An effect is counted in the direction its claim asserts: above 0 speaks for the claim. Every decision is one-sided at
5%, so the interval to look at is the 90% one: an end of it lies beyond a bound exactly where the test decides.

    difference     supported: above the margin. equivalent: within -margin and +margin (two one-sided tests).
                   contradicted: below 0, and the mean below -margin; so a certain but trifling reversal is equivalent.
    noninferior    supported: above -margin. contradicted: below -margin.
    equivalent     supported: within the margins. contradicted: wholly outside of them, at 2.5% on either side.

Hence each of the wrong verdicts, "supported" of a false claim and "contradicted" of a true one, has a probability of at
most 5% for normal effects; without a difference and without a margin a claim can go wrong either way, 10% together.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.optimize import brentq
from scipy.special import stdtr
from scipy.stats import nct, t

from diffbench.tables.schema import VERDICTS

ALPHA = 0.05
POWER = 0.8
MOST_SEEDS = 1000
SUPPORTED, PARTLY, CONTRADICTED, EQUIVALENT, INCONCLUSIVE, INSUFFICIENT, UNTESTABLE = VERDICTS
DESCRIPTIVE = "descriptive"
TESTS = ("difference", "noninferior", "equivalent")


@dataclass(frozen=True)
class P:
    """p-values of the verdicts; 1 where a test cannot give one. ``partly`` is of a claim with several parts."""

    supported: float = 1.0
    contradicted: float = 1.0
    equivalent: float = 1.0
    partly: float = 1.0

    def verdict(self, alpha: float = ALPHA) -> str:
        """The verdict at a level.

        "All parts" is refuted by one part, so what refutes comes first. One part that changes a trifle does not make
        the claim a trifle where another part is supported.
        """
        return next((name for name, value in self.by_name().items() if value <= alpha), INCONCLUSIVE)

    def weakened(self, verdict: str, alpha: float = ALPHA) -> str:
        """What is left of a verdict, these being its corrected p-values.

        Itself, partly supported of supported, or inconclusive: that a correction takes one verdict away speaks for no
        other.
        """
        weaker = (SUPPORTED, PARTLY) if verdict == SUPPORTED else (verdict,)
        return next((name for name in weaker if self.by_name()[name] <= alpha), INCONCLUSIVE)

    def by_name(self) -> dict[str, float]:
        """The p-values by the verdicts they speak for, what is decided first first."""
        return {
            CONTRADICTED: self.contradicted,
            SUPPORTED: self.supported,
            PARTLY: self.partly,
            EQUIVALENT: self.equivalent,
        }


@dataclass(frozen=True)
class Judged:
    """What a test says of n effects.

    ``effect``, ``low`` and ``high`` are the mean and its 90% t interval; ``detectable`` the smallest true effect that
    as many seeds of this spread support with probability 0.8; ``needed`` the seeds that would decide if the true
    effect were the mean seen, None if they have decided, or if more than 1,000 or no number would.
    """

    n: int
    effect: float
    low: float
    high: float
    p: P
    verdict: str
    detectable: float | None
    needed: int | None


def above(values: np.ndarray, bound: float) -> float:
    """p-value of Student's one-sided t test that the mean of values (n,) is above a bound, n > 1.

    Equal values leave no doubt: 0 above the bound, 1 at it or below.
    """
    n, mean, sd = len(values), float(np.mean(values)), _spread(values)
    if sd == 0:
        return 0.0 if mean - bound > _rounding(values) else 1.0
    return float(stdtr(n - 1, -(mean - bound) / (sd / math.sqrt(n))))  # t.sf, in a thirtieth of its time


def below(values: np.ndarray, bound: float) -> float:
    """p-value of the one-sided t test that the mean of values (n,) is below a bound."""
    return above(-values, -bound)


def within(values: np.ndarray, margin: float) -> float:
    """p-value of two one-sided tests that the mean of values (n,) is inside the margins (Schuirmann 1987)."""
    return max(above(values, -margin), below(values, margin))


def _spread(values: np.ndarray) -> float:
    """Standard deviation over seeds; 0 where values differ by rounding only."""
    sd = float(np.std(values, ddof=1))
    return sd if sd > _rounding(values) else 0.0


def _rounding(values: np.ndarray) -> float:
    """What sums and logs of values of this size may be off by."""
    return 1e-12 * max(1.0, float(np.max(np.abs(values))))


def p_values(test: str, values: np.ndarray, margin: float) -> P:
    """The p-values of a test on effects (n,), n > 1, with a margin of at least 0 in their unit."""
    if test == "noninferior":
        return P(supported=above(values, -margin), contradicted=below(values, -margin))
    if test == "equivalent":
        outside = 2 * min(below(values, -margin), above(values, margin))
        return P(supported=within(values, margin), contradicted=min(1.0, outside))
    reversed_ = below(values, 0.0) if np.mean(values) < -margin or margin == 0 else 1.0
    equivalent = within(values, margin) if margin > 0 else 1.0
    return P(supported=above(values, margin), contradicted=reversed_, equivalent=equivalent)


@cache
def _distance(n: int) -> float:
    """Standard errors between truth and bound at which a one-sided test on n seeds decides with probability 0.8."""
    critical = t.ppf(1 - ALPHA, n - 1)
    return float(brentq(lambda distance: nct.sf(critical, n - 1, distance) - POWER, 0.0, 50.0))


def seeds_for(gap: float, sd: float) -> int | None:
    """Seeds with which a one-sided test decides with probability 0.8 on a truth that lies ``gap`` from the bound.

    None where more than 1,000 are needed.
    """
    enough = (lambda n: _distance(n) * sd <= gap * math.sqrt(n)) if gap > 0 else (lambda n: False)
    low, high = 1, 2
    while not enough(high):
        low, high = high, 2 * high
        if low >= MOST_SEEDS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high if high <= MOST_SEEDS else None


def _gap(test: str, mean: float, margin: float) -> float:
    """Distance of a mean to the bound whose test would decide it.

    Of the two tests of an equivalence it is the nearer bound's, so the seeds that follow are the fewest.
    """
    if test == "noninferior":
        return abs(mean + margin)
    if test == "equivalent" or abs(mean) <= margin:
        return abs(abs(mean) - margin)
    return mean - margin if mean > 0 else -mean


def judge(test: str, effects: Sequence[float], margin: float) -> Judged:
    """The verdict on effects, one a training seed.

    Args:
        test: one of TESTS.
        effects: finite, above 0 in the direction of the claim, (n,) with n > 1.
        margin: at least 0, in the unit of the effects.

    Raises:
        ValueError: fewer than two effects, one that is not finite, a negative margin or an unknown test.
    """
    values = np.asarray(effects, dtype=float)
    if test not in TESTS or margin < 0 or len(values) < 2 or not np.isfinite(values).all():
        raise ValueError(f"test {test!r}, margin {margin}, effects {effects}")
    n, mean, sd = len(values), float(np.mean(values)), _spread(values)
    half = float(t.ppf(1 - ALPHA, n - 1)) * sd / math.sqrt(n)
    p = p_values(test, values, margin)
    reach = _distance(n) * sd / math.sqrt(n)
    detectable = {"difference": margin + reach, "noninferior": -margin + reach}.get(test)
    verdict = p.verdict()
    needed = seeds_for(_gap(test, mean, margin), sd) if verdict == INCONCLUSIVE and sd > 0 else None
    return Judged(n, mean, mean - half, mean + half, p, verdict, detectable, needed)


def all_of(parts: Sequence[P]) -> P:
    """A claim that asserts all its parts: supported if each is (intersection-union, no correction), refuted by one.

    To be refuted by one of k, or partly supported by one, that one has to hold at 5%/k.
    """
    k = len(parts)
    return P(
        supported=max(p.supported for p in parts),
        partly=min(1.0, k * min(p.supported for p in parts)) if k > 1 else 1.0,
        contradicted=min(1.0, k * min(p.contradicted for p in parts)),
        equivalent=min(1.0, k * min(p.equivalent for p in parts)),
    )


def any_of(parts: Sequence[P]) -> P:
    """A claim that one of its parts is enough for: supported if one of k is at 5%/k, contradicted if all are."""
    return P(
        supported=min(1.0, len(parts) * min(p.supported for p in parts)),
        contradicted=max(p.contradicted for p in parts),
        equivalent=max(p.equivalent for p in parts),
    )


def holm(p: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values (Scandinavian Journal of Statistics 6, 1979), in the order given."""
    adjusted, most = [0.0] * len(p), 0.0
    for rank, index in enumerate(np.argsort(p, kind="stable")):
        most = max(most, min(1.0, (len(p) - rank) * p[index]))
        adjusted[index] = most
    return adjusted
