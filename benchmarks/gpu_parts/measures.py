"""The arithmetic of the table."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["busy_seconds", "idle_share", "mfu"]


def mfu(operations: float, seconds: float, peak: float) -> float:
    """Model FLOPs utilization: the share of the card's peak that the necessary arithmetic takes.

    Args:
        operations: floating-point operations of the tokens that differ (`guard_reward.speed.Roofline`).
        seconds: that they took.
        peak: operations per second of the card.

    >>> mfu(operations=50e12, seconds=0.5, peak=400e12)
    0.25
    """
    return operations / (seconds * peak)


def busy_seconds(intervals: Iterable[tuple[float, float]]) -> float:
    """The time that is covered by intervals (begin, end), in seconds; where several overlap it counts once.

    >>> busy_seconds([(0.0, 1.0), (0.5, 2.0), (3.0, 3.5)])
    2.5
    """
    total, covered = 0.0, float("-inf")
    for begin, end in sorted(intervals):
        total += max(0.0, end - max(begin, covered))
        covered = max(covered, end)
    return total


def idle_share(busy: float, wall: float) -> float:
    """The share of `wall` seconds in which the GPU did nothing; it was busy for `busy` seconds.

    They are measured in two calls, because a profiler slows the host down, so `busy` may be the larger one: then 0.

    >>> idle_share(busy=0.75, wall=1.0), idle_share(busy=1.01, wall=1.0)
    (0.25, 0.0)
    """
    return max(0.0, 1.0 - busy / wall)
