"""`TokenScore`: a stream guard's tokens as one number."""

from __future__ import annotations

import pytest

from guard_reward import Severity, Verdict
from guard_reward.schemes import Assessment, TokenScore
from guard_reward.verdict import TokenScores


def judged(minimum, mean, flagged):
    return Verdict(Severity.SAFE, token_scores=TokenScores(20, minimum, mean, flagged))


@pytest.mark.parametrize(("of", "score"), [("min", 0.2), ("mean", 0.7), ("position", 0.25)])
def test_of_thinking_and_answer_the_lower_counts(of, score):
    better, worse = judged(0.9, 0.95, None), judged(0.2, 0.7, 5)
    assert TokenScore(of)(Assessment(better, worse)) == TokenScore(of)(Assessment(worse, better)) == score
    assert TokenScore(of).floor() == 0.0


def test_what_is_wrong_is_named():
    with pytest.raises(ValueError, match="of should be 'min', 'mean' or 'position', found 'max'"):
        TokenScore("max")
    with pytest.raises(ValueError, match="needs a stream guard"):
        TokenScore()(Assessment(Verdict(Severity.SAFE)))
