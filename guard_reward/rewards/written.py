"""What a policy wrote, looked at without a guard: replies that say nothing, switches of language, length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from guard_reward.guards.typed_marks import TypedMark
from guard_reward.rewards.defences import Defences, HelpfulnessRails
from guard_reward.rewards.outcomes import OutcomeReward, RowOutcome, as_injection, as_overlay
from guard_reward.rollout import Rollout
from guard_reward.text.asked_language import asks_for_language
from guard_reward.text.degenerate import degenerate
from guard_reward.text.language_switch import language_switch
from guard_reward.text.word_count import word_count
from guard_reward.verdict import Outcome

__all__ = ["as_written", "railed", "switched_language"]


def as_written(
    ended: RowOutcome,
    rollout: Rollout | None,
    switched: float | None,
    marks: Sequence[TypedMark],
    defences: Defences,
    outcome_rewards: Mapping[Outcome, OutcomeReward],
) -> RowOutcome:
    """How a row ends for what the policy wrote, beside what the guard said (table in `outcomes.row_outcome`).

    Args:
        ended: how it ends by what the guard said.
        rollout: None if the row could not be read.
        switched: what `switched_language` says of it.
        marks: of the guard's prompt, that the policy typed.
        defences: which of them are on.
        outcome_rewards: what rows get.
    """
    row = ended
    if defences.language_switch and switched:
        row = as_overlay(row, Outcome.LANGUAGE_SWITCH, "in another script than the prompt", outcome_rewards)
    if defences.degenerate and rollout is not None and ended.name is not Outcome.EMPTY:
        reason = degenerate(rollout.policy_text)
        row = row if reason is None else as_overlay(row, Outcome.DEGENERATE, reason, outcome_rewards)
    return as_injection(row, marks, outcome_rewards)


def switched_language(rollout: Rollout | None) -> float | None:
    """1 if the policy answers in a script that its prompt neither uses nor asks for, else 0; None if unknown.

    >>> switched_language(Rollout.from_trl("How do magnets work?", "Магниты притягивают железо."))
    1.0
    >>> switched_language(Rollout.from_trl("Say in Russian: magnets attract iron.", "Магниты притягивают железо."))
    0.0
    """
    if rollout is None:
        return None
    prompt = "\n".join(message["content"] for message in rollout.messages)
    switched = language_switch(prompt, rollout.content)
    return 0.0 if switched and asks_for_language(prompt) else switched


def railed(helpfulness: float | None, rails: HelpfulnessRails | None, rollout: Rollout | None) -> float | None:
    """H'(x, y) of `HelpfulnessRails`; words are those of the policy's answer.

    >>> rollout = Rollout.from_trl("Hi.", "Hello, how are you?")
    >>> railed(9.0, HelpfulnessRails(high=5.0, free_words=2, per_word=0.5), rollout)  # two words too many
    5.0
    >>> railed(4.0, HelpfulnessRails(high=5.0, free_words=2, per_word=0.5), rollout)
    3.0
    """
    if helpfulness is None or rails is None:
        return helpfulness
    if rails.per_word and rollout is not None:
        helpfulness -= rails.per_word * max(word_count(rollout.policy_text) - rails.free_words, 0)
    low = helpfulness if rails.low is None else max(helpfulness, rails.low)
    return low if rails.high is None else min(low, rails.high)
