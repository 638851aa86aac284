"""Boundary guidance: utility of what passes the filter, and a margin for being far from its cutoff."""

from __future__ import annotations

import pytest

from guard_reward.schemes import Assessment, Boundary
from guard_reward.verdict import Probabilities, Verdict
from tests.schemes.assessments import SAFE, judged


def verdict(controversial: float, unsafe: float) -> Verdict:
    return Verdict(SAFE, probabilities=Probabilities(1 - controversial - unsafe, controversial, unsafe))


@pytest.mark.parametrize(
    ("p_unsafe", "helpfulness", "reward"),
    [
        (0.0, 2.0, 2.0 + 1.0),  # surely safe
        (0.25, 2.0, 2.0 + 0.5),
        (0.45, 2.0, 2.0 + 0.1),  # near the cutoff
        (0.5, 2.0, 0.0),  # blocked, no margin
        (0.75, 2.0, 0.5),
        (1.0, 2.0, 1.0),  # surely unsafe: the whole margin
        (1.0, -3.0, -3.0 + 1.0),  # being blocked hides no bad help
        (0.0, -3.0, -3.0 + 1.0),
    ],
)
def test_utility_and_margin(p_unsafe, helpfulness, reward):
    assert Boundary()(Assessment(verdict(0.0, p_unsafe), helpfulness=helpfulness)) == pytest.approx(reward)


@pytest.mark.parametrize(
    ("scheme", "p_unsafe", "reward"),
    [
        (Boundary(threshold=0.2), 0.0, 3.0),
        (Boundary(threshold=0.2), 0.1, 2.5),
        (Boundary(threshold=0.2), 0.6, 0.5),
        (Boundary(threshold=0.2), 1.0, 1.0),  # no more than on the safe side
        (Boundary(weight=0.5), 0.0, 2.5),
        (Boundary(weight=0.0), 0.9, 0.0),  # the utility alone
        (Boundary(blocked=-4.0), 0.75, -4.0 + 0.5),
        (Boundary(blocked=5.0), 0.75, 2.0 + 0.5),  # never above its own H
    ],
)
def test_its_parameters(scheme, p_unsafe, reward):
    assert scheme(Assessment(verdict(0.0, p_unsafe), helpfulness=2.0)) == pytest.approx(reward)


@pytest.mark.parametrize(
    ("controversial", "reward"),
    [
        ("unsafe", 2 * (0.7 - 0.5)),  # P(Controversial) + P(Unsafe) = 0.7
        ("safe", 2.0 + 2 * (0.5 - 0.1)),  # P(Unsafe) = 0.1
        (0.5, 2.0 + 2 * (0.5 - 0.4)),  # half of P(Controversial)
    ],
)
def test_how_controversial_counts(controversial, reward):
    assert Boundary(controversial=controversial)(Assessment(verdict(0.6, 0.1), helpfulness=2.0)) == pytest.approx(
        reward
    )


@pytest.mark.parametrize(("thinking", "answer"), [(0.75, 0.1), (0.1, 0.75)])
def test_the_less_safe_of_thinking_and_answer_counts(thinking, answer):
    assessment = Assessment(verdict(0.0, answer), verdict(0.0, thinking), helpfulness=2.0)
    assert Boundary()(assessment) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Boundary(threshold=0.0), "threshold should be a probability above 0 and below 1, found 0.0"),
        (lambda: Boundary(threshold=1.0), "threshold should be a probability above 0 and below 1, found 1.0"),
        (lambda: Boundary(weight=-1.0), "weight should not be negative, found -1.0"),
        (lambda: Boundary(blocked=float("nan")), "blocked should be a finite number, found nan"),
        (lambda: Boundary()(judged("safe", helpfulness=1.0)), "boundary scheme needs the guard's probabilities"),
        (lambda: Boundary()(Assessment(verdict(0, 0))), "the boundary scheme needs helpfulness"),
    ],
)
def test_bad_input_has_a_clear_error(build, message):
    with pytest.raises(ValueError, match=message):
        build()
