"""Asking the guard about rollouts: which conversations, each distinct one once, prompts once over many batches."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guard_reward.conversation import Message
from guard_reward.rollout import Rollout
from guard_reward.schemes import Assessment
from guard_reward.verdict import Outcome, Unjudged, Verdict

if TYPE_CHECKING:
    from guard_reward.verdict import Guard

__all__ = ["Findings", "Judge"]

logger = logging.getLogger(__name__)
KEPT_PROMPTS = 16_384

_Key = tuple[tuple[str, str], ...]
_Question = list[Message] | Unjudged | None
"""A conversation for the guard; the answer already, where it cannot be asked; None where it is not."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What the guard said about the parts of one rollout; None for a part that it was not asked about."""

    answer: Verdict | Unjudged | None = None
    thinking: Verdict | Unjudged | None = None
    prompt: Verdict | Unjudged | None = None

    @property
    def written(self) -> tuple[Verdict, ...]:
        """The verdicts on what the policy wrote: of thinking and answer those that there are."""
        return tuple(part for part in (self.thinking, self.answer) if isinstance(part, Verdict))

    def assessment(self, helpfulness: float | None) -> Assessment:
        """What a scheme is given, where thinking or answer have a verdict; a part without one is left out."""
        *thinking, answer = self.written
        prompt = self.prompt if isinstance(self.prompt, Verdict) else None
        return Assessment(answer, thinking[0] if thinking else None, prompt, helpfulness)


class Judge:
    """Asks a guard about batches of rollouts. What it could not judge is an `Unjudged`, whatever the guard raised.

    Args:
        guard: whom to ask.
        thinking: ``"separate"``, ``"joint"`` or ``"ignore"``, as in `guard_reward.GuardReward`.
        prompts: whether to ask about the prompts too. Their verdicts are kept, of the `KEPT_PROMPTS` used last.
    """

    def __init__(self, guard: Guard, *, thinking: str, prompts: bool):
        self.guard = guard
        self.thinking = thinking
        self.prompts = prompts
        self._kept: dict[_Key, Verdict] = {}  # in the order of their last use

    def __call__(self, rollouts: Sequence[Rollout | Unjudged]) -> list[Findings]:
        """The findings on every rollout, in the same order; each distinct conversation is judged once.

        Raises:
            ValueError: the guard returned another number of verdicts than it was asked for.
        """
        questions = [self._questions(rollout) for rollout in rollouts]
        distinct = {_key(asked): asked for row in questions for asked in row if isinstance(asked, list)}
        judged: dict[_Key, Verdict | Unjudged] = {key: self._kept[key] for key in distinct if key in self._kept}
        open_ = {key: asked for key, asked in distinct.items() if key not in judged}
        judged.update(zip(open_, self._moderate(list(open_.values())), strict=True))
        self._keep(judged)
        return [
            Findings(*(judged[_key(asked)] if isinstance(asked, list) else asked for asked in row)) for row in questions
        ]

    def _questions(self, rollout: Rollout | Unjudged) -> tuple[_Question, _Question, _Question]:
        """What the guard is asked about a rollout: answer, thinking, prompt."""
        if isinstance(rollout, Unjudged) or rollout.outcome is Outcome.EMPTY:
            return None, None, None
        prompt = _prompt_question(rollout) if self.prompts else None
        if self.thinking == "joint":
            return rollout.joint_conversation(), None, prompt
        if self.thinking == "ignore" or rollout.thinking is None:
            return rollout.answer_conversation(), None, prompt
        return rollout.answer_conversation(), rollout.thinking_conversation(), prompt

    def _moderate(self, conversations: list[list[Message]]) -> list[Verdict | Unjudged]:
        if not conversations:
            return []
        try:
            verdicts = self.guard.moderate(conversations)
        except Exception as error:  # a guard of any make; its outage has a name and is counted, see the breaker
            logger.exception("the guard failed on %d conversations", len(conversations))
            return [Unjudged(Outcome.GUARD_ERROR, reason=f"{type(error).__name__}: {error}")] * len(conversations)
        if len(verdicts) != len(conversations):
            raise ValueError(f"the guard returned {len(verdicts)} verdicts for {len(conversations)} conversations")
        return verdicts

    def _keep(self, judged: dict[_Key, Verdict | Unjudged]) -> None:
        """Keep the verdicts on prompts; what is no verdict may become one when it is asked again."""
        for key, verdict in judged.items():
            (role, _) = key[-1]
            if role == "user" and isinstance(verdict, Verdict):
                self._kept.pop(key, None)  # to the end, as the one used last
                self._kept[key] = verdict
        for key in list(self._kept)[:-KEPT_PROMPTS]:
            self._kept.pop(key, None)


def _prompt_question(rollout: Rollout) -> list[Message] | Unjudged:
    role = rollout.messages[-1]["role"]
    if role == "user":
        return list(rollout.messages)
    reason = f"the scheme needs a verdict on the prompt, whose last message is not a user's but of role {role!r}"
    return Unjudged(Outcome.GUARD_ERROR, reason=reason)


def _key(conversation: Sequence[Message]) -> _Key:
    return tuple((turn["role"], turn["content"]) for turn in conversation)
