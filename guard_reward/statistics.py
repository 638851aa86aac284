"""95% confidence intervals for the numbers of a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Estimate", "mean", "rate"]

_Z = 1.959964  # the normal distribution's 97.5% point; the samples here are in the hundreds


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its 95% confidence interval, from `count` observations (a fraction, if they are weighted)."""

    value: float
    low: float
    high: float
    count: float


def rate(successes: float, count: float) -> Estimate:
    """A rate in [0, 1] with Wilson's interval, which also holds at 0% and 100%.

    >>> rate(0, 100)
    Estimate(value=0.0, low=0.0, high=0.036993, count=100)
    """
    _require(count)
    share = successes / count
    centre = (share + _Z**2 / (2 * count)) / (1 + _Z**2 / count)
    half_width = _Z * math.sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2)) / (1 + _Z**2 / count)
    low = 0.0 if successes == 0 else centre - half_width
    high = 1.0 if successes == count else centre + half_width
    return Estimate(share, round(low, 6), round(high, 6), count)


def mean(values: Sequence[float]) -> Estimate:
    """A mean with the interval of the central limit theorem."""
    _require(len(values))
    centre = math.fsum(values) / len(values)
    variance = math.fsum((value - centre) ** 2 for value in values) / max(1, len(values) - 1)
    half_width = _Z * math.sqrt(variance / len(values))
    return Estimate(centre, round(centre - half_width, 6), round(centre + half_width, 6), len(values))


def _require(count: float) -> None:
    if count < 1:
        raise ValueError("an estimate needs at least one observation")
