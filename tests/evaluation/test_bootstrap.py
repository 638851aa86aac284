"""The percentile bootstrap against scipy's, and against what is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from guard_reward.evaluation.bootstrap import bootstrap_interval, bootstrap_intervals
from guard_reward.statistics import rate


def mean(samples):
    return samples.mean(axis=1)


def test_as_scipy_computes_it():
    stats = pytest.importorskip("scipy.stats")
    rows = np.random.default_rng(3).exponential(size=300)
    found = bootstrap_interval(mean, rows, resamples=4000)
    theirs = stats.bootstrap((rows,), np.mean, n_resamples=4000, method="percentile", rng=1).confidence_interval
    assert (found.low, found.high) == (pytest.approx(theirs.low, abs=0.01), pytest.approx(theirs.high, abs=0.01))


def test_near_the_interval_of_a_rate():
    found, wilson = bootstrap_interval(mean, [1] * 120 + [0] * 280), rate(120, 400)
    assert (found.value, found.count) == (0.3, 400)
    assert (found.low, found.high) == (pytest.approx(wilson.low, abs=0.01), pytest.approx(wilson.high, abs=0.01))


def test_copies_of_a_row_in_one_cluster_tell_nothing_new():
    rows = np.random.default_rng(5).integers(2, size=200)
    alone = bootstrap_interval(mean, rows, resamples=3000)
    copied = np.repeat(rows, 5)
    together = bootstrap_interval(mean, copied, clusters=np.repeat(np.arange(200), 5).tolist(), resamples=3000)
    apart = bootstrap_interval(mean, copied, resamples=3000)
    assert together.high - together.low == pytest.approx(alone.high - alone.low, rel=0.1)
    assert apart.high - apart.low < 0.6 * (together.high - together.low)


def test_the_seed_decides():
    rows = np.random.default_rng(1).normal(size=50)
    assert bootstrap_interval(mean, rows, seed=7) == bootstrap_interval(mean, rows, seed=7)
    assert bootstrap_interval(mean, rows, seed=7) != bootstrap_interval(mean, rows, seed=8)


def test_several_values_share_the_samples():
    rows = np.random.default_rng(2).normal(size=(40, 2))
    first, second = bootstrap_intervals(mean, rows)
    for found, column in ((first, 0), (second, 1)):
        alone = bootstrap_interval(mean, rows[:, column])
        assert (found.low, found.high) == pytest.approx((alone.low, alone.high))


def test_samples_without_a_value_are_left_out():
    def share_of_ones(samples):
        with np.errstate(invalid="ignore"):
            return np.where((samples >= 0).any(axis=1), (samples == 1).sum(axis=1) / (samples >= 0).sum(axis=1), np.nan)

    found = bootstrap_interval(share_of_ones, [1, -1, -1])
    assert (found.value, found.low, found.high) == (1.0, 1.0, 1.0)
    nothing = bootstrap_interval(share_of_ones, [-1, -1])
    assert math.isnan(nothing.value)
    assert math.isnan(nothing.low)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="at least one"):
        bootstrap_interval(mean, [])
    with pytest.raises(ValueError, match="2 clusters for 3 rows"):
        bootstrap_interval(mean, [1, 2, 3], clusters=[1, 2])
