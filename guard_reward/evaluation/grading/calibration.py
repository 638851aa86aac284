"""Whether probabilities are what they say: of the rows with P = 0.8, are 80% positive?

The expected calibration error (ECE) is the mean distance, over 15 bins of equal width, between a bin's mean probability
and its share of positive rows, weighted by the bins' rows. A temperature T makes probabilities less or more certain:
sigmoid(logit(p) / T). It is fitted on one half of the rows by maximum likelihood; all numbers are the other half's
(Guo et al., "On Calibration of Modern Neural Networks", 2017).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guard_reward.evaluation.extra import evaluation_module

if TYPE_CHECKING:
    import numpy as np

__all__ = ["BINS", "Calibration", "Reliability", "calibrate", "fit_temperature", "reliability", "tempered"]

MIN_ROWS = 20
"""Rows that a half needs: from fewer, any temperature can come."""
BINS = 15
_LEAST = 1e-7  # a probability of exactly 0 or 1 has no logit
_TEMPERATURES = (0.01, 100.0)


@dataclass(frozen=True, slots=True)
class Reliability:
    """How probabilities compare with what is.

    Attributes:
        ece: expected calibration error.
        brier: the mean squared distance between probability and label.
        probabilities: by bin, their mean; None for an empty bin.
        shares: by bin, the share of positive rows; None for an empty bin.
        rows: by bin, how many there are.
    """

    ece: float
    brier: float
    probabilities: list[float | None]
    shares: list[float | None]
    rows: list[int]


@dataclass(frozen=True, slots=True)
class Calibration:
    """Before and after a temperature, on the half that the temperature was not fitted on.

    Attributes:
        temperature: above 1, the guard is too certain.
        fitted_on, reported_on: rows.
        before, after: the reported half's reliability.
    """

    temperature: float
    fitted_on: int
    reported_on: int
    before: Reliability
    after: Reliability


def calibrate(labels: np.ndarray, scores: np.ndarray, clusters: Sequence[Any], *, seed: int = 0) -> Calibration | None:
    """Fit a temperature on one half and report on the other; rows of one cluster are in the same half.

    Returns:
        None if a half has fewer than `MIN_ROWS`, or no positive or no negative row.
    """
    import numpy as np

    names = list(dict.fromkeys(clusters))
    order = np.random.default_rng(seed).permutation(len(names))
    fitting = {names[number] for number in order[: len(names) // 2]}
    is_fitted = np.array([cluster in fitting for cluster in clusters])
    for half in (is_fitted, ~is_fitted):
        if half.sum() < MIN_ROWS or labels[half].all() or not labels[half].any():
            return None
    temperature = fit_temperature(labels[is_fitted], scores[is_fitted])
    there, found = labels[~is_fitted], scores[~is_fitted]
    after = reliability(there, tempered(found, temperature))
    return Calibration(temperature, int(is_fitted.sum()), len(there), reliability(there, found), after)


def reliability(labels: np.ndarray, scores: np.ndarray) -> Reliability:
    """ECE, Brier score and the bins.

    >>> import numpy as np
    >>> reliability(np.array([True, False]), np.array([0.75, 0.25])).ece
    0.25
    """
    import numpy as np

    bins = np.minimum((scores * BINS).astype(int), BINS - 1)
    rows = np.bincount(bins, minlength=BINS)
    sums = np.bincount(bins, weights=scores, minlength=BINS)
    positive = np.bincount(bins, weights=labels, minlength=BINS)
    error = float(np.abs(sums - positive).sum() / len(scores))
    brier = float(evaluation_module("sklearn.metrics").brier_score_loss(labels, scores, pos_label=True))
    means, shares = (
        [float(total / count) if count else None for total, count in zip(totals, rows, strict=True)]
        for totals in (sums, positive)
    )
    return Reliability(error, brier, means, shares, rows.tolist())


def tempered(scores: np.ndarray, temperature: float) -> np.ndarray:
    """The probabilities at a temperature."""

    found: np.ndarray = evaluation_module("scipy.special").expit(_logits(scores) / temperature)
    return found


def fit_temperature(labels: np.ndarray, scores: np.ndarray) -> float:
    """The temperature with the highest likelihood, between 0.01 and 100."""
    import numpy as np

    logits = _logits(scores)
    signs = np.where(labels, 1.0, -1.0)

    def loss(log_temperature: float) -> float:
        return float(np.logaddexp(0, -signs * logits / math.exp(log_temperature)).mean())

    bounds = tuple(math.log(temperature) for temperature in _TEMPERATURES)
    found = evaluation_module("scipy.optimize").minimize_scalar(loss, bounds=bounds, method="bounded")
    return math.exp(float(found.x))


def _logits(scores: np.ndarray) -> np.ndarray:
    import numpy as np

    clipped = np.clip(scores, _LEAST, 1 - _LEAST)
    return np.log(clipped) - np.log1p(-clipped)
