"""Precision, recall and the like of yes-or-no answers, with intervals, for all rows and for groups of them.

scikit-learn computes the numbers. Their 95% intervals come from one bootstrap over all rows, in which rows with the
same prompt are drawn together; a group's interval is that of its rows in the same samples.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from guard_reward.evaluation.bootstrap import RESAMPLES, bootstrap_intervals
from guard_reward.evaluation.extra import evaluation_module
from guard_reward.statistics import Estimate

if TYPE_CHECKING:
    import numpy as np

__all__ = ["METRICS", "Binary", "Scores", "macro_mean", "score_groups"]

METRICS = ("precision", "recall", "f1", "accuracy", "false_positive_rate")
Name = TypeVar("Name", bound=Hashable)
_OUTCOMES = 4  # true positive, false positive, true negative, false negative


@dataclass(frozen=True, slots=True)
class Binary:
    """Labels and answers of some rows.

    Attributes:
        labels: whether people say yes.
        answers: whether the guard says yes.
        clusters: which rows are drawn together.
    """

    labels: np.ndarray
    answers: np.ndarray
    clusters: Sequence[Any]


@dataclass(frozen=True, slots=True)
class Scores:
    """How good yes-or-no answers are; a number is None where there is nothing to divide by.

    Attributes:
        rows: how many there are.
        true_positives, false_positives, true_negatives, false_negatives: how many of them.
        precision, recall, f1, accuracy, false_positive_rate: with intervals. F1 needs a row that people or the guard
            call positive, recall one that people do, the false-positive rate one that people do not.
        kappa: Cohen's, the agreement above chance.
    """

    rows: int
    true_positives: int
    false_positives: int
    true_negatives: int
    false_negatives: int
    precision: Estimate | None
    recall: Estimate | None
    f1: Estimate | None
    accuracy: Estimate | None
    false_positive_rate: Estimate | None
    kappa: float | None


def score_groups(
    data: Binary, groups: Mapping[Name, np.ndarray], *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[Name, Scores]:
    """Scores by group.

    Args:
        data: all rows.
        groups: by name, the numbers of its rows; none is empty.
        resamples, seed: of the bootstrap.
    """
    estimates = _estimates(data, list(groups.values()), resamples, seed)
    return {
        name: _scores(data.labels[rows], data.answers[rows], found)
        for (name, rows), found in zip(groups.items(), estimates, strict=True)
    }


def macro_mean(
    data: Binary, groups: Mapping[Any, np.ndarray], *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Estimate | None]:
    """The mean over groups of each number, every group counting once; `Estimate.count` is the number of groups.

    Precision, recall and F1 are means over groups with a positive label, the false-positive rate over those with a
    negative one.
    """
    import numpy as np

    has_yes = np.array([data.labels[rows].any() for rows in groups.values()])
    has_no = np.array([not data.labels[rows].all() for rows in groups.values()])
    everywhere = np.ones(len(groups), dtype=bool)
    used = np.stack([has_yes, has_yes, has_yes, everywhere, has_no], axis=1)

    def statistic(totals: np.ndarray) -> np.ndarray:
        values = _metrics(totals)
        counted = used & ~np.isnan(values)
        with np.errstate(invalid="ignore"):
            return np.where(counted, values, 0).sum(axis=1) / counted.sum(axis=1)

    found = _bootstrap(data, list(groups.values()), statistic, resamples, seed)
    return {
        name: None if math.isnan(estimate.value) else Estimate(estimate.value, estimate.low, estimate.high, int(count))
        for name, estimate, count in zip(METRICS, found, used.sum(axis=0), strict=True)
    }


def _scores(labels: np.ndarray, answers: np.ndarray, estimates: Sequence[Estimate]) -> Scores:
    """The point values from scikit-learn, the intervals from the bootstrap."""
    metrics = evaluation_module("sklearn.metrics")
    negatives, false_positives, misses, hits = map(
        int, metrics.confusion_matrix(labels, answers, labels=[False, True]).ravel()
    )
    of_yes = metrics.precision_recall_fscore_support(
        labels, answers, labels=[True], average=None, zero_division=math.nan
    )
    values = [
        *(float(found[0]) for found in of_yes[:3]),
        float(metrics.accuracy_score(labels, answers)),
        false_positives / (false_positives + negatives) if false_positives + negatives else math.nan,
    ]
    precision, recall, f1, accuracy, false_positive_rate = (
        None if math.isnan(value) else Estimate(value, found.low, found.high, len(labels))
        for value, found in zip(values, estimates, strict=True)
    )
    both = len(set(labels.tolist()) | set(answers.tolist())) > 1
    kappa = float(metrics.cohen_kappa_score(labels, answers)) if both else None
    counts = (len(labels), hits, false_positives, negatives, misses)
    return Scores(*counts, precision, recall, f1, accuracy, false_positive_rate, kappa)


def _estimates(data: Binary, groups: Sequence[np.ndarray], resamples: int, seed: int) -> list[list[Estimate]]:
    """Of each group, the estimates of `METRICS`."""
    found = _bootstrap(data, groups, lambda totals: _metrics(totals).reshape(len(totals), -1), resamples, seed)
    return [found[begin : begin + len(METRICS)] for begin in range(0, len(found), len(METRICS))]


def _bootstrap(data: Binary, groups: Sequence[np.ndarray], statistic: Any, resamples: int, seed: int) -> list[Estimate]:
    """Estimates of a statistic of the groups' outcome counts, of shape (samples, groups, outcomes)."""
    import numpy as np

    counts = _cluster_counts(data, groups)
    size = counts.shape[1]

    def of_numbers(numbers: np.ndarray) -> np.ndarray:
        shifted = numbers + size * np.arange(len(numbers))[:, None]
        weights = np.bincount(shifted.ravel(), minlength=len(numbers) * size).reshape(len(numbers), size)
        return statistic((counts @ weights.T).T.reshape(len(numbers), len(groups), _OUTCOMES))

    return bootstrap_intervals(of_numbers, np.arange(size), resamples=resamples, seed=seed)


def _cluster_counts(data: Binary, groups: Sequence[np.ndarray]) -> Any:
    """How often each outcome occurs: a sparse matrix, of shape (groups × outcomes, clusters)."""
    import numpy as np

    numbers: dict[Any, int] = {}
    cluster_of = np.array([numbers.setdefault(cluster, len(numbers)) for cluster in data.clusters])
    outcome = np.where(data.labels, np.where(data.answers, 0, 3), np.where(data.answers, 1, 2))
    places = np.concatenate([outcome[rows] + _OUTCOMES * position for position, rows in enumerate(groups)])
    columns = np.concatenate([cluster_of[rows] for rows in groups])
    shape = (len(groups) * _OUTCOMES, len(numbers))
    return evaluation_module("scipy.sparse").coo_array((np.ones(len(places)), (places, columns)), shape=shape).tocsr()


def _metrics(totals: np.ndarray) -> np.ndarray:
    """`METRICS` from counts of outcomes, in the last axis; NaN where there is nothing to divide by."""
    import numpy as np

    hits, false_alarms, negatives, misses = np.moveaxis(totals, -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.stack(
            [
                hits / (hits + false_alarms),
                hits / (hits + misses),
                2 * hits / (2 * hits + false_alarms + misses),
                (hits + negatives) / totals.sum(axis=-1),
                false_alarms / (false_alarms + negatives),
            ],
            axis=-1,
        )
