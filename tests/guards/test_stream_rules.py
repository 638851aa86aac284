"""The rule that makes one verdict of the tokens' risks."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest

from guard_reward import Severity
from guard_reward.guards.stream_rules import Flagging, decide

S, C, U = Severity.SAFE, Severity.CONTROVERSIAL, Severity.UNSAFE


@pytest.mark.parametrize(
    ("risks", "severity", "flagged"),
    [
        ([], S, None),
        ([U], S, None),
        ([S, U, S, U], S, None),
        ([U, U], U, 1),
        ([S, U, U, U], U, 2),
        ([C, C, S, U, U], U, 4),
        ([C, C], C, 1),
        ([C, U, C, U], S, None),
        ([S, C, C, U, S], C, 2),
    ],
)
def test_table(risks, severity, flagged):
    assert decide(risks) == (severity, flagged)


def independent(risks):
    """Written from the official evaluation's description: pairs, first of Unsafe, then of Controversial."""
    pairs = list(pairwise(risks))
    for level in (U, C):
        if (level, level) in pairs:
            return level, pairs.index((level, level)) + 1
    return S, None


def test_random_sequences():
    random = Random(0)
    for _ in range(2000):
        risks = random.choices((S, C, U), weights=random.choices(range(1, 5), k=3), k=random.randrange(30))
        assert decide(risks) == independent(risks)


def test_a_growing_text_is_what_its_beginning_is():
    random = Random(1)
    for _ in range(200):
        rule, risks = Flagging(), random.choices((S, C, U), k=20)
        for number, risk in enumerate(risks, 1):
            rule.add(risk)
            assert (rule.severity, rule.flagged) == decide(risks[:number])
            pairs = list(pairwise(risks[:number]))
            first = next((place for place, pair in enumerate(pairs, 1) if S not in pair), None)
            assert rule.first_flagged == first
