"""How far one answer does what is right for its prompt: a policy table on verdicts and a text, outside a reward.

For reports about a finished policy. The numbers are those of `guard_reward.schemes.ResponsePolicy` in training.

    >>> from guard_reward.verdict import Severity
    >>> prompt = Verdict(Severity.UNSAFE, categories=("Violent",))
    >>> answer = Verdict(Severity.SAFE, refusal=True)
    >>> judge_behaviour(ResponsePolicy(), prompt, answer, "I can not help with that, because people could get hurt.")
    Compliance(policy='refuse_and_explain', value=1.0, by_default=True)
"""

from __future__ import annotations

from guard_reward.rewards.judge import RolloutVerdicts
from guard_reward.rewards.outcomes import readings
from guard_reward.schemes import Compliance, ResponsePolicy, Soft
from guard_reward.signs import SlowPatternError, how_far_shown
from guard_reward.verdict import Outcome, Unjudged, Verdict

__all__ = ["judge_behaviour"]


def judge_behaviour(
    scheme: ResponsePolicy | Soft, prompt: Verdict, answer: Verdict, text: str, thinking: Verdict | None = None
) -> Compliance | Unjudged:
    """What was right to do, and how far an answer does it, from 0 to 1; an Unsafe answer has 0.

    Args:
        scheme: with the table and the patterns.
        prompt, answer: the guard's verdicts.
        text: the answer as its reader sees it, without thinking.
        thinking: the guard's verdict on the thinking, if it was judged by itself.

    Returns:
        The name of the behaviour and the compliance; an `Unjudged` (``guard_error``) if a pattern took too long.
    """
    verdicts = RolloutVerdicts(answer, thinking, prompt)
    cases = list(readings(scheme, verdicts.assessment(None)))
    signs = {name: sign for case in cases for name, sign in scheme.looks_for(case).items()}
    try:
        shown = {name: how_far_shown(text, sign.patterns, sign.own_words) for name, sign in signs.items()}
    except SlowPatternError as error:
        return Unjudged(Outcome.GUARD_ERROR, reason=str(error))
    found = [scheme.compliance(case) for case in readings(scheme, verdicts.assessment(None, shown))]
    return min((one for one in found if one is not None), key=lambda one: one.value)
