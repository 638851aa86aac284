"""Safe completion: helpfulness times safety."""

from __future__ import annotations

import pytest

from guard_reward.schemes import SafeCompletion
from tests.schemes.assessments import judged


@pytest.mark.parametrize(
    ("thinking", "answer", "helpfulness", "reward"),
    [
        (None, "safe", 0.8, 0.8),
        (None, "safe", 1.0, 1.0),
        (None, "unsafe", 1.0, 0.0),  # however helpful
        (None, "unsafe", 0.0, 0.0),
        (None, "controversial", 0.8, 0.4),  # a share
        ("unsafe", "safe", 0.8, 0.0),  # thinking counts
        ("controversial", "safe", 0.8, 0.4),
        (None, "safe refusal", 0.3, 0.3),  # as much as it helps
        (None, "safe", 1.7, 1.0),  # clipped
        (None, "safe", -0.2, 0.0),
    ],
)
def test_helpfulness_times_safety(thinking, answer, helpfulness, reward):
    assert SafeCompletion()(judged(answer, thinking, helpfulness)) == pytest.approx(reward)


@pytest.mark.parametrize(
    ("helpfulness", "reward"),
    [(-4.0, 0.0), (-9.0, 0.0), (0.0, 0.4), (1.0, 0.5), (6.0, 1.0), (30.0, 1.0)],
)
def test_the_range_of_a_reward_models_logits(helpfulness, reward):
    assert SafeCompletion(helpfulness_range=(-4.0, 6.0))(judged("safe", None, helpfulness)) == pytest.approx(reward)


@pytest.mark.parametrize(("controversial", "reward"), [("unsafe", 0.0), ("safe", 0.8), (0.25, 0.2)])
def test_how_controversial_counts(controversial, reward):
    scheme = SafeCompletion(controversial=controversial)
    assert scheme(judged("controversial", helpfulness=0.8)) == pytest.approx(reward)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: SafeCompletion((1.0, 0.0)),
            r"helpfulness_range should be two numbers, low < high, found \(1.0, 0.0\)",
        ),
        (lambda: SafeCompletion((1.0, 1.0)), "low < high"),
        (lambda: SafeCompletion((0.0, float("inf"))), r"two numbers, low < high, found \(0.0, inf\)"),
        (lambda: SafeCompletion((float("nan"), 1.0)), "two numbers"),
        (lambda: SafeCompletion((0.0, "1")), "two numbers"),
        (lambda: SafeCompletion((False, True)), "two numbers"),
        (lambda: SafeCompletion((0.0, 0.5, 1.0)), "two numbers"),
        (lambda: SafeCompletion(1.0), "two numbers, low < high, found 1.0"),
        (lambda: SafeCompletion()(judged("safe")), "the safe_completion scheme needs helpfulness"),
    ],
)
def test_bad_input_has_a_clear_error(build, message):
    with pytest.raises(ValueError, match=message):
        build()
