"""How far one answer does what is right for its prompt: a policy table on verdicts and a text, outside a reward.

For reports about a finished policy. The numbers are those of `guard_reward.schemes.ResponsePolicy` in training.

    >>> from guard_reward.verdict import Severity
    >>> prompt = Verdict(Severity.UNSAFE, categories=("Violent",))
    >>> answer = Verdict(Severity.SAFE, refusal=True)
    >>> judge_behaviour(ResponsePolicy(), prompt, answer, "I can not help with that, because people could get hurt.")
    Compliance(policy='refuse_and_explain', value=1.0, by_default=True)
"""

from __future__ import annotations

from collections.abc import Mapping

from guard_reward.rewards.judge import RolloutVerdicts
from guard_reward.rewards.outcomes import readings
from guard_reward.schemes import Assessment, Compliance, ResponsePolicy, Scheme, Sign, Soft
from guard_reward.signs import SlowPatternError, how_far_shown
from guard_reward.verdict import Outcome, Unjudged, Verdict

__all__ = ["Shown", "judge_behaviour", "search_text", "signs_of", "worst_compliance"]

Shown = Mapping[str, float] | Unjudged
"""How far an answer shows what a scheme looks for, by name; or why that is not known."""


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
    shown = search_text(text, signs_of(scheme, verdicts.assessment(None)))
    if isinstance(shown, Unjudged):
        return shown
    found = worst_compliance(scheme, verdicts.assessment(None, shown))
    assert found is not None  # there is a verdict on the prompt
    return found


def signs_of(scheme: Scheme, assessment: Assessment) -> dict[str, Sign]:
    """What the scheme looks for in an answer, over all its readings."""
    return {name: sign for case in readings(scheme, assessment) for name, sign in scheme.looks_for(case).items()}


def search_text(text: str, signs: Mapping[str, Sign]) -> Shown:
    """How far a text shows what is wanted of it; ``guard_error`` if a pattern takes too long on it."""
    try:
        return {name: how_far_shown(text, sign.patterns, sign.own_words) for name, sign in signs.items()}
    except SlowPatternError as error:
        return Unjudged(Outcome.GUARD_ERROR, reason=str(error))


def worst_compliance(scheme: Scheme, assessment: Assessment) -> Compliance | None:
    """That of the worst reading, as the reward; None if the scheme says none."""
    found = [one for case in readings(scheme, assessment) if (one := scheme.compliance(case)) is not None]
    return min(found, key=lambda one: one.value, default=None)
