"""A rollout as the monitor sees it: texts, verdicts, how the judging ended."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from guard_reward.rewards.metrics import JudgedRollout
from guard_reward.rollout import Rollout
from guard_reward.schemes import Scheme
from guard_reward.text.clipping import clipped
from guard_reward.verdict import Outcome, Severity, Unjudged, Verdict

__all__ = ["Seen", "is_lenient", "second_verdict", "seen_rollout", "seen_text"]

_SHOWN = 2000  # characters of a text in an alarm
_INTERNAL = ("conversation", "lenient")


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
        second_lost: whether the text has no verdict of the second guard; None if it was not asked, or did not answer.
        lenient: whether the reward treats Controversial as Safe.
        conversation: all messages that the policy answers, in any form; the prompt if it is empty.
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
    second_lost: bool | None = None
    lenient: bool = False
    conversation: str = ""

    @property
    def group(self) -> str:
        """What rollouts for the same prompt have in common, on all ranks; no text."""
        text = self.conversation or self.prompt
        return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest()

    @property
    def is_paid(self) -> bool:
        """Whether the reward's guard has a verdict that the reward treats as Safe."""
        return self._is_safe(self.severity)

    @property
    def is_disputed(self) -> bool | None:
        """Whether the second guard has a verdict that the reward would not treat as Safe; None without one."""
        return None if self.second is None else not self._is_safe(self.second)

    def _is_safe(self, severity: Severity | None) -> bool:
        return severity is Severity.SAFE or (self.lenient and severity is Severity.CONTROVERSIAL)

    def shown(self, **more: Any) -> dict[str, Any]:
        """As JSON values for an alarm, long texts cut, half surrogate pairs replaced."""
        short = replace(self, prompt=_printable(self.prompt), completion=_printable(self.completion))
        values = {name: value for name, value in asdict(short).items() if name not in _INTERNAL}
        return {**values, **more}


def is_lenient(scheme: Scheme) -> bool:
    """Whether a scheme's reward for Controversial is nearer to that for Safe than to that for Unsafe.

    >>> from guard_reward.schemes import GuardOnly, SeverityTable
    >>> is_lenient(GuardOnly()), is_lenient(GuardOnly("safe")), is_lenient(SeverityTable(controversial=0.5))
    (False, True, True)
    """
    inner = scheme.unwrap()
    counts = getattr(inner, "controversial", "unsafe")
    if not isinstance(counts, int | float):
        return bool(counts == "safe")
    middle = (getattr(inner, "safe", 1.0) + getattr(inner, "unsafe", 0.0)) / 2
    return bool(counts > middle)


def second_verdict(found: Verdict | Unjudged | None) -> dict[str, Any]:
    """The fields of a `Seen` that a second guard's answer decides; one that did not answer says nothing of a text."""
    if isinstance(found, Verdict):
        return {"second": found.severity, "second_lost": False}
    lost = True if found is not None and found.outcome in (Outcome.NO_VERDICT, Outcome.TOO_LONG) else None
    return {"second": None, "second_lost": lost}


def seen_rollout(row: JudgedRollout, tokens: int | None, *, lenient: bool = False) -> Seen | None:
    """What a guard's reward has judged; None for a row that could not be read.

    Args:
        row: everything that is known.
        tokens: of the completion.
        lenient: what `is_lenient` says of the reward's scheme.
    """
    rollout = row.rollout
    if rollout is None:
        return None
    answer = row.verdicts.answer
    return Seen(
        prompt=rollout.messages[-1]["content"] if rollout.messages else "",
        completion=_written(rollout),
        tokens=tokens,
        reward=row.reward,
        severity=answer.severity if isinstance(answer, Verdict) else None,
        outcome=row.outcome.name,
        injections=row.injection_attempts,
        truncated=rollout.truncated,
        lenient=lenient,
        conversation=_as_text(rollout.messages),
        **second_verdict(row.verdicts.shadow),
    )


def seen_text(prompt: Any, completion: Any, tokens: int | None, reward: float | None) -> Seen | None:
    """A row of any reward function of TRL; None if it cannot be read."""
    try:
        rollout = Rollout.from_trl(prompt, completion)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    question = rollout.messages[-1]["content"] if rollout.messages else ""
    return Seen(question, _written(rollout), tokens=tokens, reward=reward, conversation=_as_text(rollout.messages))


def _written(rollout: Rollout) -> str:
    return "\n".join(part for part in (rollout.thinking, rollout.policy_text) if part)


def _as_text(messages: Sequence[Any]) -> str:
    return json.dumps([dict(message) for message in messages], default=str)


def _printable(text: str) -> str:
    shown = clipped(text, _SHOWN)
    if len(shown) < len(text):
        shown = f"{shown[: _SHOWN // 2]} […] {shown[_SHOWN // 2 :]}"
    return shown.encode("utf-8", "replace").decode("utf-8")
