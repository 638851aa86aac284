"""A circuit breaker: a guard that has stopped answering stops the run, instead of training on nothing."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from guard_reward._fork_safe_lock import ForkSafeLock
from guard_reward.rewards.distributed import gather_objects
from guard_reward.schemes.values import check_finite, check_whole

__all__ = ["CircuitBreaker", "GuardOutageError"]


_CALLS_LOCK = ForkSafeLock()  # not in the breaker, which must pickle


class GuardOutageError(RuntimeError):
    """Too many of the last rollouts got no verdict."""


@dataclass
class CircuitBreaker:
    """Raises when more than `max_share` of the last `window` rollouts, over all ranks, got no verdict.

    In a distributed run the counts of all ranks are added up, so that every rank stops at the same call and none waits
    for the others in a collective operation.

    Args:
        max_share: the largest tolerated fraction of rollouts without a verdict, from 0 to 1.
        window: number of last rollouts that count; below that number the run never stops.

    >>> breaker = CircuitBreaker(max_share=0.5, window=4)
    >>> breaker.check(rows=4, unjudged={"guard_error": 3})
    Traceback (most recent call last):
        ...
    guard_reward.rewards.circuit_breaker.GuardOutageError: 3 of the last 4 rollouts got no verdict...
    """

    max_share: float = 0.5
    window: int = 64
    _calls: deque[tuple[int, dict[str, int]]] = field(default_factory=deque, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_finite(max_share=self.max_share)
        check_whole(window=self.window)
        if not 0.0 <= self.max_share <= 1.0:
            raise ValueError(f"max_share should be from 0 to 1, found {self.max_share}")
        if self.window < 1:
            raise ValueError(f"window should be at least 1 rollout, found {self.window}")

    def check(self, rows: int, unjudged: Mapping[str, int], *, all_ranks: bool = False, reason: str = "") -> None:
        """Count one call's rows and decide.

        Args:
            rows: rollouts of this call, on this rank.
            unjudged: how many of them got no verdict, by outcome.
            all_ranks: add up the counts of all ranks; then every rank must call.
            reason: an example of what went wrong, for the message.

        Raises:
            GuardOutageError: too many rollouts got no verdict; on all ranks at the same call.
        """
        own = (rows, dict(unjudged))
        counts = gather_objects(own, what="the circuit breaker's counts") if all_ranks else [own]
        seen, totals = self._count(counts)
        lost = sum(totals.values())
        if seen >= self.window and lost > self.max_share * seen:
            kinds = ", ".join(f"{count} {outcome}" for outcome, count in totals.items() if count)
            raise GuardOutageError(
                f"{lost} of the last {seen} rollouts got no verdict ({kinds}), more than {self.max_share:.0%}: "
                f"stopping rather than training without rewards. {f'For example: {reason}. ' if reason else ''}"
                "Check the guard; to tolerate more, pass GuardReward(..., breaker=CircuitBreaker(max_share=...)), or "
                "breaker=None for no limit"
            )

    def _count(self, counts: list[tuple[int, dict[str, int]]]) -> tuple[int, Counter[str]]:
        """Rollouts in the window, these calls included, and how many of them got no verdict, by outcome."""
        with _CALLS_LOCK:
            self._calls.extend(counts)
            while sum(count for count, _ in self._calls) - self._calls[0][0] >= self.window:
                self._calls.popleft()
            totals: Counter[str] = Counter()
            for _, by_outcome in self._calls:
                totals.update(by_outcome)
            return sum(count for count, _ in self._calls), totals
