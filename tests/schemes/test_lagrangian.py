"""The Lagrangian's reward; how its multiplier is learned is in tests/rewards/test_dual_ascent.py."""

from __future__ import annotations

import pytest

from guard_reward.schemes import Lagrangian
from tests.schemes.assessments import judged


@pytest.mark.parametrize(
    ("multiplier", "thinking", "answer", "helpfulness", "reward"),
    [
        (0.0, None, "unsafe", 3.0, 3.0),  # no price yet
        (1.0, None, "safe", 3.0, 1.5),  # H / 2
        (1.0, None, "unsafe", 3.0, 1.0),  # (3 - 1) / 2
        (3.0, None, "safe", 3.0, 0.75),
        (3.0, None, "unsafe", 3.0, 0.0),  # worth exactly H
        (3.0, "unsafe", "safe", 3.0, 0.0),  # thinking counts
        (3.0, "safe", "safe", -2.0, -0.5),
        (3.0, None, "safe refusal", 3.0, 0.75),  # refusing is H's matter
        (3.0, None, "controversial", 3.0, 0.0),  # strict by default
    ],
)
def test_helpfulness_minus_the_price_of_unsafe(multiplier, thinking, answer, helpfulness, reward):
    assert Lagrangian(multiplier=multiplier)(judged(answer, thinking, helpfulness)) == pytest.approx(reward)


@pytest.mark.parametrize(
    ("controversial", "reward"), [("unsafe", 0.0), ("safe", 0.75), (0.25, (3.0 - 3.0 * 0.75) / 4.0)]
)
def test_how_controversial_counts(controversial, reward):
    scheme = Lagrangian(multiplier=3.0, controversial=controversial)
    assert scheme(judged("controversial", helpfulness=3.0)) == pytest.approx(reward)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"unsafe_rate": 1.5}, "unsafe_rate should be a fraction from 0 to 1, found 1.5"),
        ({"unsafe_rate": -0.1}, "unsafe_rate should be a fraction from 0 to 1, found -0.1"),
        ({"learning_rate": -1.0}, "learning_rate should not be negative, found -1.0"),
        ({"learning_rate": float("nan")}, "learning_rate should be a finite number, found nan"),
        ({"delay": -1}, "delay should be a number of batches, 0 or more, found -1"),
        ({"window": 0}, "window should be at least 1 rollout, found 0"),
        ({"multiplier": -1.0}, "0 <= multiplier <= max_multiplier, found multiplier=-1.0 and max_multiplier=20.0"),
        ({"multiplier": 5.0, "max_multiplier": 4.0}, "0 <= multiplier <= max_multiplier"),
        ({"max_multiplier": float("inf")}, "max_multiplier should be a finite number, found inf"),
        ({"window": 0.5}, "window should be a whole number, found 0.5"),
        ({"delay": True}, "delay should be a whole number, found True"),
    ],
)
def test_bad_values_have_a_clear_error(arguments, message):
    with pytest.raises(ValueError, match=message):
        Lagrangian(**arguments)


def test_a_missing_helpfulness_is_named():
    with pytest.raises(ValueError, match="the lagrangian scheme needs helpfulness"):
        Lagrangian()(judged("safe"))
