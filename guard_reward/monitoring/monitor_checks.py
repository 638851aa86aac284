"""What a `guard_reward.monitoring.monitor.RewardMonitor` cannot be made of."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from guard_reward.monitoring.signals.table import SIGNALS
from guard_reward.rewards.base import BaseGuardReward
from guard_reward.verdict import describe_guard

__all__ = ["check_options", "check_other_guard", "checked_stop_on", "guard_name"]


def check_options(
    reward: Any, *, sample: int, max_share: float, warmup_steps: int, action: str, deadline: float
) -> None:
    """Refuse arguments out of their range.

    Raises:
        ValueError: names the argument.
    """
    if reward is not None and not isinstance(reward, BaseGuardReward):
        raise ValueError(
            f"reward should be a GuardReward or AsyncGuardReward, found {reward!r}; for another reward function pass "
            "monitor.watch(function) to the trainer"
        )
    if action not in ("warn", "stop"):
        raise ValueError(f"action should be 'warn' or 'stop', found {action!r}")
    if sample < 1:
        raise ValueError(f"sample should be at least 1 rollout, found {sample}")
    if warmup_steps < 1:
        raise ValueError(f"warmup_steps should be at least 1, found {warmup_steps}")
    if not 0.0 < max_share <= 1.0:
        raise ValueError(f"max_share should be above 0 and at most 1, found {max_share}")
    if not deadline > 0.0:
        raise ValueError(f"deadline should be above 0 seconds, found {deadline}")


def checked_stop_on(stop_on: Collection[str] | None) -> frozenset[str]:
    """The signals that may stop a run; by default all but those that a policy may be meant to show.

    Raises:
        ValueError: a name that no signal has.
    """
    if stop_on is None:
        return frozenset(name for name, signal in SIGNALS.items() if not signal.may_be_wanted)
    names = [stop_on] if isinstance(stop_on, str) else list(stop_on)
    if unknown := [name for name in names if name not in SIGNALS]:
        raise ValueError(f"stop_on has no signal {unknown[0]!r}: choose from {', '.join(SIGNALS)}")
    return frozenset(names)


def check_other_guard(second: Any, guard: Any) -> None:
    """Refuse a second guard that errs where the reward's own does: the same object, or the same weights.

    Raises:
        ValueError: it is the reward's guard.
    """
    if second is not guard:
        name = getattr(second, "name", None)
        if name is None or name != getattr(guard, "name", None) or _revision(second) != _revision(guard):
            return
    raise ValueError(
        f"second_guard is the reward's own guard ({guard_name(guard)}): name another one, which errs elsewhere"
    )


def guard_name(guard: Any) -> str:
    """What a guard is called."""
    return str(getattr(guard, "name", None) or type(guard).__name__)


def _revision(guard: Any) -> str | None:
    return describe_guard(guard).get("revision")
