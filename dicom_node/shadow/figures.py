"""Shares, differences and spreads with their 95 % intervals.

In: counts and numbers. Out: frozen figures. Never: a figure without the number that it rests on.
Shares: Clopper-Pearson, exact (Biometrika 1934;26:404), by scipy; differences of two independent
shares: Newcombe's hybrid score interval (Stat Med 1998;17:873, method 10) over scipy's Wilson
intervals.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

TOO_FEW = 30  # below, a figure is shown and said to be too small to rest on


@dataclass(frozen=True, slots=True)
class Share:
    """`count` of `n`; value, low, high: 0..1, None where n is 0."""

    count: int
    n: int
    value: float | None
    low: float | None
    high: float | None
    enough: bool


@dataclass(frozen=True, slots=True)
class Difference:
    """One share less another; -1..1. clear: the interval leaves out zero."""

    value: float
    low: float
    high: float
    clear: bool


@dataclass(frozen=True, slots=True)
class Spread:
    """Of `n` numbers, in their own unit."""

    n: int
    mean: float
    median: float
    p95: float
    low: float
    high: float
    enough: bool


def share(flags: Sequence[bool]) -> Share:
    """The share that is true, with its exact interval."""
    count, n = sum(flags), len(flags)
    if n == 0:
        return Share(0, 0, None, None, None, False)
    low, high = binomtest(count, n).proportion_ci(0.95, "exact")
    return Share(count, n, _rounded(count / n), _rounded(low), _rounded(high), n >= TOO_FEW)


def difference(one: Share, other: Share) -> Difference | None:
    """`one` less `other`; None where either rests on nothing."""
    if one.n == 0 or other.n == 0:
        return None
    (p, l1, u1), (q, l2, u2) = _wilson(one), _wilson(other)
    value = p - q
    low = value - math.hypot(p - l1, u2 - q)
    high = value + math.hypot(u1 - p, q - l2)
    return Difference(_rounded(value), _rounded(low), _rounded(high), low > 0 or high < 0)


def spread(numbers: Sequence[float]) -> Spread | None:
    """Mean, median, 95th percentile and ends; None of nothing."""
    if not numbers:
        return None
    median, p95 = np.percentile(numbers, [50, 95])
    figures = (np.mean(numbers), median, p95, min(numbers), max(numbers))
    mean, median, p95, low, high = (round(float(one), 2) for one in figures)
    return Spread(len(numbers), mean, median, p95, low, high, len(numbers) >= TOO_FEW)


def _wilson(one: Share) -> tuple[float, float, float]:
    low, high = binomtest(one.count, one.n).proportion_ci(0.95, "wilson")
    return one.count / one.n, float(low), float(high)


def _rounded(value: float) -> float:
    return round(float(value), 4)
