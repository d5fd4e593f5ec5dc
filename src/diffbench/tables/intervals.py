"""Intervals over training seeds, the unit of replication."""

import math

import numpy as np
from scipy.stats import t


def interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """The t interval of the mean of values over seeds, (n,); not-a-number for fewer than two."""
    n = len(values)
    if n < 2:
        return math.nan, math.nan
    half = t.ppf((1 + level) / 2, n - 1) * np.std(values, ddof=1) / math.sqrt(n)
    return float(np.mean(values) - half), float(np.mean(values) + half)
