"""Which rollouts a page shows if there are too many: some of all of training, and what people look for."""

from __future__ import annotations

import heapq
import math
from collections.abc import Collection, Sequence
from typing import TypeVar

from guard_reward.report.tables import Facts

__all__ = ["Place", "choose"]

_T = TypeVar("_T")

Place = tuple[int, int]
"""A table's number and a row's position in it."""

_SPREAD = 2654435761  # Knuth's multiplier: neighbours get numbers that are far apart


def choose(tables: Sequence[Facts], limit: int, wanted: Collection[Place] = ()) -> list[Place]:
    """At most `limit` rows, in the tables' order; the same ones for the same tables.

    First those that are `wanted`. Then one half for coverage: as many steps as fit, evenly, and of each step rows at
    equal distances. The rest are the rows that deserve a look: unsafe, without a verdict or with an injection attempt,
    Controversial, and among equals those with the lowest reward.

    Args:
        tables: what is known of every row.
        limit: how many rows are chosen.
        wanted: rows that must be among them, as far as the limit allows.
    """
    total = sum(len(facts.steps) for facts in tables)
    if total <= limit:
        return [(number, row) for number, facts in enumerate(tables) for row in range(len(facts.steps))]
    chosen = set(sorted(wanted)[:limit])
    chosen.update(_coverage(tables, (limit - len(chosen)) // 2))
    chosen.update(_worst(tables, limit - len(chosen), chosen))
    return sorted(chosen)


def _coverage(tables: Sequence[Facts], budget: int) -> list[Place]:
    by_step: dict[int, list[Place]] = {}
    for number, facts in enumerate(tables):
        for row, step in enumerate(facts.steps):
            by_step.setdefault(step, []).append((number, row))
    steps = _evenly(sorted(by_step), budget)
    each, more = divmod(budget, len(steps)) if steps else (0, 0)
    return [place for at, step in enumerate(steps) for place in _evenly(by_step[step], each + (at < more))]


def _worst(tables: Sequence[Facts], count: int, taken: Collection[Place]) -> list[Place]:
    def rank(place: Place) -> tuple[int, float, int]:
        facts, row = tables[place[0]], place[1]
        reward = facts.rewards[row]
        spread = (place[0] * 31 + row) * _SPREAD % 2**32
        return -facts.concerns[row], math.inf if math.isnan(reward) else reward, spread

    places = (
        place
        for number, facts in enumerate(tables)
        for row in range(len(facts.steps))
        if (place := (number, row)) not in taken
    )
    return heapq.nsmallest(count, places, key=rank)


def _evenly(items: Sequence[_T], count: int) -> list[_T]:
    """`count` items at equal distances, the first and the last among them; all if there are no more.

    >>> _evenly(range(10), 4)
    [0, 3, 6, 9]
    """
    if count >= len(items):
        return list(items)
    if count < 2:
        return list(items[:count])
    return [items[round(at * (len(items) - 1) / (count - 1))] for at in range(count)]
