"""What a guard's probabilities could do: the precision–recall curve, and the threshold for a false-positive rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from guard_reward.evaluation.extra import evaluation_module

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Curve", "Threshold", "precision_recall_curve", "threshold_for"]

_MOST_POINTS = 500


@dataclass(frozen=True, slots=True)
class Curve:
    """A precision–recall curve.

    Attributes:
        average_precision: the sum over thresholds of precision times the step in recall.
        rows: how many probabilities there are.
        precision, recall: of the points, from the lowest threshold to the highest and above it.
        thresholds: of all points but the last one, which is above all of them.
    """

    average_precision: float
    rows: int
    precision: list[float]
    recall: list[float]
    thresholds: list[float]


@dataclass(frozen=True, slots=True)
class Threshold:
    """Where to put the threshold, chosen on the rows that are graded.

    Attributes:
        wished: the false-positive rate that is not to be exceeded.
        threshold: a row is positive from this probability on; above 1 if every lower one has more false positives.
        false_positive_rate, precision, recall: at it; precision is None if nothing is positive.
    """

    wished: float
    threshold: float
    false_positive_rate: float
    precision: float | None
    recall: float


def precision_recall_curve(labels: np.ndarray, scores: np.ndarray) -> Curve:
    """The curve of rows of which at least one is labelled positive; long curves are thinned to 500 points."""
    import numpy as np

    metrics = evaluation_module("sklearn.metrics")
    precision, recall, thresholds = metrics.precision_recall_curve(labels, scores, drop_intermediate=True)
    if len(thresholds) >= _MOST_POINTS:
        kept = np.unique(np.linspace(0, len(thresholds) - 1, _MOST_POINTS - 1).round().astype(int))
        thresholds = thresholds[kept]
        precision, recall = (np.append(values[kept], values[-1]) for values in (precision, recall))
    average = float(metrics.average_precision_score(labels, scores))
    return Curve(average, len(labels), precision.tolist(), recall.tolist(), thresholds.tolist())


def threshold_for(labels: np.ndarray, scores: np.ndarray, wished: float) -> Threshold:
    """The lowest threshold with at most the wished share of false positives; there are labels of both kinds.

    >>> import numpy as np
    >>> threshold_for(np.array([True, False, True, False]), np.array([0.9, 0.8, 0.3, 0.1]), 0.5)
    Threshold(wished=0.5, threshold=0.3, false_positive_rate=0.5, precision=0.6666666666666666, recall=1.0)
    """
    metrics = evaluation_module("sklearn.metrics")
    rates, recalls, thresholds = metrics.roc_curve(labels, scores, drop_intermediate=False)
    chosen = int((rates <= wished).nonzero()[0][-1])
    called = scores >= thresholds[chosen]
    precision = float(labels[called].mean()) if called.any() else None
    # scikit-learn's first threshold is infinite, which JSON does not have; no probability reaches 2.
    threshold = min(float(thresholds[chosen]), 2.0)
    return Threshold(wished, threshold, float(rates[chosen]), precision, float(recalls[chosen]))
