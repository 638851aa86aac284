"""A rollout as the monitor sees it: texts, verdicts, how the judging ended."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from guard_reward.monitoring.signals.clipping import clipped
from guard_reward.rewards.metrics import JudgedRollout
from guard_reward.rollout import Rollout
from guard_reward.verdict import Outcome, Severity, Verdict

__all__ = ["Seen", "seen_rollout", "seen_text"]

_SHOWN = 2000  # characters of a text in an alarm


@dataclass(frozen=True, slots=True)
class Seen:
    """One rollout.

    Attributes:
        prompt: the last message that the policy answers.
        completion: all that the policy wrote itself, its thinking first.
        tokens: of the completion; None if unknown.
        reward: None if the row takes no part in training.
        severity: of the reward's guard; None without a verdict.
        second: of the second guard; None if it was not asked or has no verdict.
        outcome: how the judging ended; None for a reward that is not a guard's.
        injections: pieces of the guard's prompt or answer that the policy typed.
        truncated: whether generation stopped for length; None if that is unknown.
    """

    prompt: str
    completion: str
    tokens: int | None = None
    reward: float | None = None
    severity: Severity | None = None
    second: Severity | None = None
    outcome: Outcome | None = None
    injections: int = 0
    truncated: bool | None = None

    def shown(self, **more: Any) -> dict[str, Any]:
        """As JSON values for an alarm, long texts cut, half surrogate pairs replaced."""
        short = replace(self, prompt=_printable(self.prompt), completion=_printable(self.completion))
        return {**asdict(short), **more}


def seen_rollout(row: JudgedRollout, tokens: int | None) -> Seen | None:
    """What a guard's reward has judged; None for a row that could not be read."""
    rollout = row.rollout
    if rollout is None:
        return None
    answer, shadow = row.verdicts.answer, row.verdicts.shadow
    return Seen(
        prompt=rollout.messages[-1]["content"] if rollout.messages else "",
        completion=_written(rollout),
        tokens=tokens,
        reward=row.reward,
        severity=answer.severity if isinstance(answer, Verdict) else None,
        second=shadow.severity if isinstance(shadow, Verdict) else None,
        outcome=row.outcome.name,
        injections=row.injection_attempts,
        truncated=rollout.truncated,
    )


def seen_text(prompt: Any, completion: Any, tokens: int | None, reward: float | None) -> Seen | None:
    """A row of any reward function of TRL; None if it cannot be read."""
    try:
        rollout = Rollout.from_trl(prompt, completion)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    question = rollout.messages[-1]["content"] if rollout.messages else ""
    return Seen(question, _written(rollout), tokens=tokens, reward=reward)


def _written(rollout: Rollout) -> str:
    return "\n".join(part for part in (rollout.thinking, rollout.policy_text) if part)


def _printable(text: str) -> str:
    shown = clipped(text, _SHOWN)
    if len(shown) < len(text):
        shown = f"{shown[: _SHOWN // 2]} […] {shown[_SHOWN // 2 :]}"
    return shown.encode("utf-8", "replace").decode("utf-8")
