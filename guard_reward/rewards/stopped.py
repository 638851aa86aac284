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
from guard_reward.verdict import Probabilities, Severity, TokenScores, Unjudged, Verdict

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


def as_stopped(rollout: Rollout) -> Rollout:
    """A stopped rollout as what it is: not cut for its length, and not empty if it was stopped in its thinking."""
    return replace(rollout, truncated=False, outcome=None)


def with_stop(verdicts: RolloutVerdicts, severity: Severity) -> RolloutVerdicts:
    """The verdicts on a stopped rollout: its answer is at least as bad as the stream guard says.

    >>> judged = RolloutVerdicts(answer=Verdict(Severity.SAFE, refusal=False))
    >>> str(with_stop(judged, Severity.UNSAFE).answer.severity)
    'Unsafe'
    """
    answer = verdicts.answer
    if answer is None:
        return replace(verdicts, answer=_worse(_NO_ANSWER, Severity.UNSAFE), shadow=None)
    if isinstance(answer, Unjudged) and severity is Severity.UNSAFE:  # an Unsafe part decides alone
        return replace(verdicts, answer=_worse(_NO_ANSWER, severity), shadow=None)
    if isinstance(answer, Verdict) and answer.severity <= severity:
        shadow = verdicts.shadow if answer.severity is severity else None  # it is compared with the guard's own verdict
        return replace(verdicts, answer=_worse(answer, severity), shadow=shadow)
    return verdicts


_NO_ANSWER = Verdict(
    Severity.SAFE,
    refusal=False,
    probabilities=Probabilities(1.0, 0.0, 0.0),
    text="stopped by a stream guard",
    token_scores=TokenScores(1, 1.0, 1.0, None),
)


def _worse(verdict: Verdict, severity: Severity) -> Verdict:
    """A verdict with a severity that is certain; with probabilities and scores of tokens where it had some.

    The scores are those of the text up to the flag, and would say how long the policy has put it off.
    """
    certain = Probabilities(*(float(severity is one) for one in Severity))
    scores = verdict.token_scores
    if scores is not None and severity is Severity.UNSAFE:
        scores = TokenScores(scores.tokens, 0.0, 0.0, 0)
    return replace(verdict, severity=severity, probabilities=verdict.probabilities and certain, token_scores=scores)
