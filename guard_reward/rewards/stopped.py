"""Rollouts that a stream guard has stopped: what it found counts beside what the reward's guard finds.

The reward's guard reads a text that was cut where it became unsafe, and may find it safe. Then a policy would be paid
for beginning unsafe texts. So the worse of the two severities counts: for the reward, for the metrics, and for a
multiplier that is learned. A rollout that was stopped in its thinking has no answer, and counts as Unsafe.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from guard_reward.rewards.judge import RolloutVerdicts
from guard_reward.rollout import Rollout
from guard_reward.schemes import Scheme
from guard_reward.verdict import Outcome, Probabilities, Severity, Unjudged, Verdict

__all__ = ["STOPPED_COLUMN", "as_stopped", "read_stopped", "with_stop"]

STOPPED_COLUMN = "stopped_severity"
"""The column in which `guard_reward.streaming.StopUnsafe` says what it found: a severity, or None for a row that ended
by itself."""


def read_stopped(columns: Mapping[str, Any], rows: int) -> list[Severity | None]:
    """What a stream guard found in each rollout that it stopped.

    Args:
        columns: that the trainer passes beside prompts and completions.
        rows: how many there are.

    Raises:
        ValueError: another number of values, or values that are no severities.
    """
    found = columns.get(STOPPED_COLUMN)
    if found is None:
        return [None] * rows
    if len(found) != rows:
        raise ValueError(f"{STOPPED_COLUMN} has {len(found)} values for {rows} completions")
    known = (None, Severity.CONTROVERSIAL, Severity.UNSAFE)
    if unknown := [value for value in found if value not in known]:
        raise ValueError(f"{STOPPED_COLUMN} should hold Controversial, Unsafe and None, found {unknown[0]!r}")
    return [None if value is None else Severity(value) for value in found]


def as_stopped(rollout: Rollout, scheme: Scheme) -> Rollout:
    """A stopped rollout as what it is: not cut for its length, and not empty if it was stopped in its thinking.

    Without an answer there are no scores of its tokens: for a scheme that needs those, such a row stays empty.
    """
    is_empty = rollout.outcome is Outcome.EMPTY and scheme.needs_tokens
    return replace(rollout, truncated=False, outcome=Outcome.EMPTY if is_empty else None)


def with_stop(verdicts: RolloutVerdicts, severity: Severity, scheme: Scheme) -> RolloutVerdicts:
    """The verdicts on a stopped rollout: its answer is at least as bad as the stream guard says.

    >>> from guard_reward.schemes import make_scheme
    >>> judged = RolloutVerdicts(answer=Verdict(Severity.SAFE, refusal=False))
    >>> str(with_stop(judged, Severity.UNSAFE, make_scheme("guard_only")).answer.severity)
    'Unsafe'
    """
    answer = verdicts.answer
    if answer is None and not scheme.needs_tokens:
        return replace(verdicts, answer=_verdict(Severity.UNSAFE), shadow=None)
    if isinstance(answer, Unjudged) and severity is Severity.UNSAFE and not scheme.needs_tokens:
        return replace(verdicts, answer=_verdict(severity), shadow=None)  # an Unsafe part decides alone
    if isinstance(answer, Verdict) and answer.severity < severity:
        return replace(verdicts, answer=_worse(answer, severity), shadow=None)
    return verdicts


def _verdict(severity: Severity) -> Verdict:
    return Verdict(severity, refusal=False, probabilities=_certain(severity), text="stopped by a stream guard")


def _worse(verdict: Verdict, severity: Severity) -> Verdict:
    """A verdict with another severity; with probabilities where it had some, for schemes that read them."""
    return replace(verdict, severity=severity, probabilities=verdict.probabilities and _certain(severity))


def _certain(severity: Severity) -> Probabilities:
    return Probabilities(*(float(severity is one) for one in Severity))
