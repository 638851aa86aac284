"""What a reward says of single replies, without a trace: nothing is learned, counted, logged or shown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from guard_reward.redteam.attack import Draft
from guard_reward.redteam.remembering import RememberingGuard
from guard_reward.rewards.defences import Defences
from guard_reward.rewards.metrics import JudgedRollout
from guard_reward.rewards.outcomes import OutcomeReward
from guard_reward.rewards.reward import GuardReward
from guard_reward.verdict import Outcome, Severity, Verdict

__all__ = ["Judged", "Judging", "with_defences"]

_FAILED = {str(Outcome.GUARD_ERROR), str(Outcome.TIMEOUT)}
Prompt = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Judged:
    """What a reward says of one reply.

    Attributes:
        reward: None if the row would take no part in training.
        outcome: how the judging ended (`guard_reward.Outcome`).
        reason: why, unless it ended in an ordinary verdict.
        severity: the worst of answer and thinking; None without a verdict.
        refuses: whether the guard calls the answer a refusal; None if it does not say.
        floor: the lowest reward that the scheme gives; None if it has no such value.
    """

    reward: float | None
    outcome: str
    reason: str = ""
    severity: Severity | None = None
    refuses: bool | None = None
    floor: float | None = None

    @property
    def failed(self) -> bool:
        """Whether the guard gave no answer."""
        return self.outcome in _FAILED

    @property
    def verdict(self) -> str:
        """In a few words."""
        refusal = ", refusal" if self.refuses else ""
        outcome = "" if self.outcome == Outcome.SCORED else f" ({self.outcome})"
        return f"{self.severity or 'no verdict'}{refusal}{outcome}"


class Judging:
    """Asks a reward about replies, in batches.

    Args:
        reward: as a trainer gets it.
        batch_size: replies per call.
    """

    def __init__(self, reward: GuardReward, batch_size: int = 32):
        self.reward = reward
        self.batch_size = batch_size

    def __call__(self, prompts: Sequence[Prompt], drafts: Sequence[Draft]) -> list[Judged]:
        """One entry per reply, in order. Where the guard gave no answer it is asked once more."""
        judged: list[Judged] = []
        for begin in range(0, len(prompts), self.batch_size):
            part = slice(begin, begin + self.batch_size)
            judged += self._judge(prompts[part], drafts[part])
        failed = [number for number, it in enumerate(judged) if it.failed]
        again = self._judge([prompts[number] for number in failed], [drafts[number] for number in failed])
        for number, it in zip(failed, again, strict=True):
            judged[number] = it
        return judged

    def _judge(self, prompts: Sequence[Prompt], drafts: Sequence[Draft]) -> list[Judged]:
        if not prompts:
            return []
        rows = self.reward.judged([list(prompt) for prompt in prompts], [_messages(draft) for draft in drafts])
        return [_judged(row, self.reward) for row in rows]


def with_defences(reward: GuardReward, *several: Defences) -> list[GuardReward]:
    """The same reward once per set of defences, all with the same guard and models in memory.

    Together they ask the guard about each conversation once.

    Args:
        reward: it stays as it is.
        *several: the defences of each.
    """
    guard = RememberingGuard(reward.guard)
    return [
        GuardReward(
            guard,
            reward.scheme,
            name=reward.name,
            helpfulness=reward.helpfulness,
            thinking=reward.thinking,
            system_prompt=reward.system_prompt,
            on_outcome=_outcome_rewards(reward, defences),
            thinking_prefilled=reward.thinking_prefilled,
            sleep=reward.sleep,
            refusal=reward.refusal,
            rubric=reward.rubric,
            defences=defences,
        )
        for defences in several
    ]


def _outcome_rewards(reward: GuardReward, defences: Defences) -> dict[str, OutcomeReward]:
    """The reward's own, without the outcomes of defences that are off, which are called as the defences are."""
    given = {str(outcome): value for outcome, value in reward.outcome_rewards.items()}
    return {name: value for name, value in given.items() if getattr(defences, name, True)}


def _messages(draft: Draft) -> list[dict[str, Any]]:
    completion = draft.completion()
    if isinstance(completion, str):
        return [{"role": "assistant", "content": completion}]
    return [dict(message) for message in completion]


def _judged(row: JudgedRollout, reward: GuardReward) -> Judged:
    answer = row.verdicts.answer
    written = [verdict.severity for verdict in row.verdicts.written]
    return Judged(
        reward=row.reward,
        outcome=str(row.outcome.name),
        reason=row.outcome.reason,
        severity=max(written, key=lambda severity: severity.rank, default=None),
        refuses=answer.refusal if isinstance(answer, Verdict) else None,
        floor=_floor(row, reward),
    )


def _floor(row: JudgedRollout, reward: GuardReward) -> float | None:
    if not reward.scheme.has_floor:
        return None
    floor = reward.scheme.floor(row.helpfulness)
    return floor if math.isfinite(floor) else None
