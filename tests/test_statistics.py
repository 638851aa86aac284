"""Confidence intervals against known values."""

import pytest

from guard_reward.statistics import mean, rate


@pytest.mark.parametrize(
    ("successes", "count", "low", "high"),
    [
        (0, 100, 0.0, 0.0370),  # not the empty interval of the normal approximation
        (100, 100, 0.9630, 1.0),
        (50, 100, 0.4038, 0.5962),
        (1, 10, 0.0179, 0.4042),
    ],
)
def test_wilson(successes, count, low, high):
    estimate = rate(successes, count)
    assert estimate.value == successes / count
    assert (estimate.low, estimate.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


def test_mean():
    estimate = mean([0.0, 1.0] * 50)
    assert estimate.value == 0.5
    assert estimate.low == pytest.approx(0.5 - 1.96 * 0.50252 / 10, abs=1e-4)
    assert mean([0.7]).low == mean([0.7]).high == pytest.approx(0.7)


def test_nothing_has_no_estimate():
    with pytest.raises(ValueError, match="at least one"):
        rate(0, 0)
    with pytest.raises(ValueError, match="at least one"):
        mean([])
