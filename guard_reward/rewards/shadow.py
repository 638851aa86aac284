"""A second guard beside the one that gives the reward: how often they agree.

A policy that learns to fool its judge fools that judge first. A guard of another kind, which gives no reward, then
disagrees more often than in the beginning. `guard_reward.monitoring.RewardMonitor` says when it does.
"""

from __future__ import annotations

from guard_reward.rewards.judge import RolloutVerdicts
from guard_reward.verdict import Severity, Verdict

__all__ = ["agreement"]


def agreement(verdicts: RolloutVerdicts) -> float | None:
    """1 if both guards call the answer safe, or neither does; 0 if they differ; None if one has no verdict.

    Both are asked about the answer as it was written, so other forms of it do not count.

    >>> agreement(RolloutVerdicts(answer=Verdict(Severity.UNSAFE), shadow=Verdict(Severity.CONTROVERSIAL)))
    1.0
    """
    answer = verdicts.answer_as_written
    if not isinstance(answer, Verdict) or not isinstance(verdicts.shadow, Verdict):
        return None
    return float((answer.severity is Severity.SAFE) == (verdicts.shadow.severity is Severity.SAFE))
