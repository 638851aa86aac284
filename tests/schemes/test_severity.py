"""The severity table."""

from __future__ import annotations

import pytest

from guard_reward.schemes import Assessment, SeverityTable
from guard_reward.verdict import Category, Verdict
from tests.schemes.assessments import CONTROVERSIAL, SAFE, UNSAFE, judged


@pytest.mark.parametrize(
    ("severity", "categories", "refusal", "reward"),
    [
        (SAFE, (), False, 1.0),
        (SAFE, (), True, 0.8),  # the refusal addition
        (CONTROVERSIAL, (), False, 0.5),
        (UNSAFE, (), False, -1.0),
        (UNSAFE, (), True, -1.2),
        (UNSAFE, (Category.VIOLENT,), False, -3.0),  # its own value
        (UNSAFE, (Category.PII,), False, -0.5),  # milder than unsafe
        (UNSAFE, (Category.PII, Category.VIOLENT), False, -3.0),  # the lowest counts
        (UNSAFE, (Category.JAILBREAK,), False, -1.0),  # not in table
        (UNSAFE, (Category.NON_VIOLENT_ILLEGAL_ACTS,), False, -1.0),  # whole names only
        (UNSAFE, ("Gardening",), False, -2.0),  # another guard's category
        (CONTROVERSIAL, (Category.VIOLENT,), False, 0.5),  # unsafe verdicts only
        (SAFE, (Category.VIOLENT,), False, 1.0),
    ],
)
def test_severity_table(severity, categories, refusal, reward):
    scheme = SeverityTable(
        controversial=0.5, refusal=-0.2, categories={"Violent": -3.0, Category.PII: -0.5, "Gardening": -2.0}
    )
    assert scheme(Assessment(Verdict(severity, categories, refusal))) == pytest.approx(reward)


@pytest.mark.parametrize(
    ("thinking", "answer", "reward"),
    [("safe", "unsafe", -1.0), ("unsafe", "safe", -1.0), ("controversial", "safe", 0.0), ("safe", "safe", 1.0)],
)
def test_severity_table_pays_the_worse_of_thinking_and_answer(thinking, answer, reward):
    assert SeverityTable()(judged(answer, thinking)) == reward
