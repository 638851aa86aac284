"""ECE, Brier score and temperature against loops and known values; curves and thresholds too."""

from __future__ import annotations

import numpy as np
import pytest

from guard_reward.evaluation.grading.calibration import BINS, calibrate, fit_temperature, reliability, tempered
from guard_reward.evaluation.grading.curves import precision_recall_curve, threshold_for


def overconfident(seed: int, temperature: float, rows: int = 4000):
    """Labels drawn from true probabilities, and probabilities that are too certain by a temperature."""
    random = np.random.default_rng(seed)
    logits = random.normal(scale=1.5, size=rows)
    labels = random.random(rows) < 1 / (1 + np.exp(-logits))
    return labels, 1 / (1 + np.exp(-logits * temperature))


def naive_ece(labels, scores):
    error = 0.0
    for number in range(BINS):
        inside = [
            (label, score)
            for label, score in zip(labels, scores, strict=True)
            if number / BINS <= score < (number + 1) / BINS or (score == 1 and number == BINS - 1)
        ]
        if inside:
            share = sum(label for label, _ in inside) / len(inside)
            error += len(inside) / len(scores) * abs(share - sum(score for _, score in inside) / len(inside))
    return error


def test_as_a_loop_computes_them() -> None:
    labels, scores = overconfident(0, 2.0, rows=500)
    found = reliability(labels, np.append(scores[:-1], 1.0))
    assert found.ece == pytest.approx(naive_ece(labels, np.append(scores[:-1], 1.0)))
    assert found.brier == pytest.approx(np.mean((labels - np.append(scores[:-1], 1.0)) ** 2))
    assert sum(found.rows) == 500


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_is_found_again(temperature: float) -> None:
    labels, scores = overconfident(1, temperature, rows=20_000)
    assert fit_temperature(labels, scores) == pytest.approx(temperature, rel=0.05)


def test_a_temperature_helps_on_the_other_half() -> None:
    labels, scores = overconfident(2, 3.0)
    found = calibrate(labels, scores, [f"prompt {row // 2}" for row in range(len(labels))])
    assert (found.fitted_on, found.reported_on) == (2000, 2000)
    assert found.after.ece < 0.04 < 0.1 < found.before.ece
    assert found.after.brier < found.before.brier
    assert tempered(np.array([0.9]), 1.0)[0] == pytest.approx(0.9)


def test_rows_of_one_prompt_are_in_one_half() -> None:
    labels = np.array([True, False] * 3)
    assert calibrate(labels, np.linspace(0, 1, 6), ["same"] * 6) is None
    assert calibrate(np.ones(6, bool), np.linspace(0, 1, 6), list("abcdef")) is None


def test_average_precision_as_a_loop_computes_it() -> None:
    labels, scores = overconfident(3, 1.0, rows=200)
    scores = scores.round(2)  # with ties
    average = recall_before = 0.0
    for threshold in sorted(set(scores), reverse=True):
        called = scores >= threshold
        recall = (called & labels).sum() / labels.sum()
        average += (called & labels).sum() / called.sum() * (recall - recall_before)
        recall_before = recall
    assert precision_recall_curve(labels, scores).average_precision == pytest.approx(average)


def test_long_curves_are_thinned_and_keep_their_ends() -> None:
    labels, scores = overconfident(4, 1.0)
    found = precision_recall_curve(labels, scores)
    assert len(found.precision) == len(found.recall) == len(found.thresholds) + 1 <= 500
    assert (found.recall[0], found.recall[-1], found.precision[-1]) == (1.0, 0.0, 1.0)
    assert found.rows == 4000


@pytest.mark.parametrize("wished", [0.0, 0.01, 0.1, 1.0])
def test_the_threshold_is_the_lowest_with_few_false_positives(wished: float) -> None:
    labels, scores = overconfident(5, 1.0, rows=400)
    scores = scores.round(2)
    found = threshold_for(labels, scores, wished)
    rate = (scores[~labels] >= found.threshold).mean()
    assert found.false_positive_rate == pytest.approx(rate)
    assert rate <= wished
    assert found.recall == pytest.approx((scores[labels] >= found.threshold).mean())
    lower = [score for score in scores if score < found.threshold]
    assert all((scores[~labels] >= score).mean() > wished for score in lower)


def test_no_threshold_may_be_low_enough() -> None:
    found = threshold_for(np.array([False, True]), np.array([0.9, 0.1]), 0.0)
    assert (found.threshold, found.precision, found.recall) == (2.0, None, 0.0)
