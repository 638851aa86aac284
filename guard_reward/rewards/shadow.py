"""A second guard beside the one that gives the reward: how often they agree, and an alarm when that falls.

A policy that learns to fool its judge fools that judge first. A guard of another kind, which gives no reward, then
disagrees more often than in the beginning.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from guard_reward.rewards.judge import RolloutVerdicts
from guard_reward.verdict import Severity, Verdict

__all__ = ["ShadowAlarm", "agreement"]


def agreement(verdicts: RolloutVerdicts) -> float | None:
    """1 if both guards call the answer safe, or neither does; 0 if they differ; None if one has no verdict.

    >>> agreement(RolloutVerdicts(answer=Verdict(Severity.UNSAFE), shadow=Verdict(Severity.CONTROVERSIAL)))
    1.0
    """
    if not isinstance(verdicts.answer, Verdict) or not isinstance(verdicts.shadow, Verdict):
        return None
    return float((verdicts.answer.severity is Severity.SAFE) == (verdicts.shadow.severity is Severity.SAFE))


class ShadowAlarm:
    """Says once when two guards agree less than in the beginning.

    Args:
        window: rollouts that the agreement is measured on, in the beginning and now.
        drop: how far it may fall.
    """

    def __init__(self, window: int = 256, drop: float = 0.1):
        self.window = window
        self.drop = drop
        self.first: list[float] = []
        self.last: deque[float] = deque(maxlen=window)
        self.has_rung = False

    def add(self, verdicts: Iterable[RolloutVerdicts]) -> str | None:
        """Count rollouts; a warning if the agreement has fallen too far, once."""
        for value in (agreement(one) for one in verdicts):
            if value is None:
                continue
            if len(self.first) < self.window:
                self.first.append(value)
            else:
                self.last.append(value)
        if self.has_rung or len(self.last) < self.window:
            return None
        before, now = sum(self.first) / len(self.first), sum(self.last) / len(self.last)
        if now >= before - self.drop:
            return None
        self.has_rung = True
        return (
            f"the shadow guard agrees with the guard on {now:.0%} of the last {self.window} rollouts, and did on "
            f"{before:.0%} of the first {self.window}: the policy may have found what only one of them sees. Read "
            "rollouts on which they differ"
        )
