"""Scores against a loop written from their definitions, intervals against a loop over resamples."""

from __future__ import annotations

import math

import numpy as np
import pytest

from guard_reward.evaluation.grading.classification import METRICS, Binary, macro_mean, score_groups


def random_data(seed: int, rows: int = 300, clusters: int = 120) -> Binary:
    random = np.random.default_rng(seed)
    labels = random.random(rows) < 0.4
    answers = np.where(random.random(rows) < 0.8, labels, ~labels)
    return Binary(labels, answers, [f"prompt {number}" for number in random.integers(clusters, size=rows)])


def naive(pairs):
    """Precision, recall, F1, accuracy, false-positive rate of (label, answer) pairs; NaN for 0 / 0."""
    hits = false_alarms = negatives = misses = 0
    for label, answer in pairs:
        hits += label and answer
        false_alarms += answer and not label
        misses += label and not answer
        negatives += not label and not answer
    divided = [
        (hits, hits + false_alarms),
        (hits, hits + misses),
        (2 * hits, 2 * hits + false_alarms + misses),
        (hits + negatives, hits + negatives + false_alarms + misses),
        (false_alarms, false_alarms + negatives),
    ]
    return [top / bottom if bottom else math.nan for top, bottom in divided]


def values(scores):
    return [math.nan if (found := getattr(scores, name)) is None else found.value for name in METRICS]


@pytest.mark.parametrize("seed", range(5))
def test_as_a_loop_counts_them(seed: int) -> None:
    data = random_data(seed)
    groups = {"all": np.arange(300), "some": np.arange(0, 300, 7), "one": np.array([3])}
    found = score_groups(data, groups, resamples=10)
    for name, rows in groups.items():
        pairs = [(bool(data.labels[row]), bool(data.answers[row])) for row in rows]
        assert values(found[name]) == pytest.approx(naive(pairs), nan_ok=True)
    scores = found["all"]
    counted = scores.true_positives + scores.false_positives + scores.true_negatives + scores.false_negatives
    assert (scores.rows, counted) == (300, 300)


def test_kappa_is_the_agreement_above_chance() -> None:
    data = random_data(1)
    agreement = (data.labels == data.answers).mean()
    chance = data.labels.mean() * data.answers.mean() + (1 - data.labels.mean()) * (1 - data.answers.mean())
    (scores,) = score_groups(data, {"all": np.arange(300)}, resamples=2).values()
    assert scores.kappa == pytest.approx((agreement - chance) / (1 - chance))


def test_intervals_as_from_a_loop_over_resampled_prompts() -> None:
    data = random_data(2)
    members: dict[str, list[int]] = {}
    for row, cluster in enumerate(data.clusters):
        members.setdefault(cluster, []).append(row)
    random, names, drawn = np.random.default_rng(9), list(members), []
    for _ in range(1500):
        rows = [row for number in random.integers(len(names), size=len(names)) for row in members[names[number]]]
        drawn.append(naive((data.labels[row], data.answers[row]) for row in rows))
    lows, highs = np.quantile(np.array(drawn), [0.025, 0.975], axis=0)
    (scores,) = score_groups(data, {"all": np.arange(300)}, resamples=1500).values()
    for name, low, high in zip(METRICS, lows, highs, strict=True):
        assert (getattr(scores, name).low, getattr(scores, name).high) == pytest.approx((low, high), abs=0.015)


def test_what_cannot_be_divided_is_none() -> None:
    data = Binary(np.zeros(4, bool), np.zeros(4, bool), list("abcd"))
    (scores,) = score_groups(data, {"all": np.arange(4)}, resamples=5).values()
    assert (scores.precision, scores.recall, scores.f1, scores.kappa) == (None, None, None, None)
    assert (scores.accuracy.value, scores.false_positive_rate.value) == (1.0, 0.0)


def test_the_mean_of_sources_counts_each_once() -> None:
    """A source without positive labels has no recall and no F1, one without negative labels no false positives."""
    labels = np.array([True] * 4 + [True, False] + [False] * 2)
    answers = np.array([True] * 3 + [False] + [True, True] + [True, False])
    data = Binary(labels, answers, list(range(8)))
    groups = {"harmful": np.arange(4), "mixed": np.arange(4, 6), "benign": np.arange(6, 8)}
    mean = macro_mean(data, groups, resamples=20)
    assert mean["recall"].value == pytest.approx((0.75 + 1.0) / 2)
    assert mean["f1"].value == pytest.approx((6 / 7 + 2 / 3) / 2)
    assert mean["false_positive_rate"].value == pytest.approx((1.0 + 0.5) / 2)
    assert mean["accuracy"].value == pytest.approx((0.75 + 0.5 + 0.5) / 3)
    assert [mean[name].count for name in METRICS] == [2, 2, 2, 3, 2]
