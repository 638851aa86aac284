"""Greedy best-first search: add a part to the best composition so far, again and again.

Of the many ways to add a part, each step tries a random sample. Among equals, the one that was extended less often is
next, so that without any gain to follow the search goes everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from guard_reward.redteam.searching.composition import Composition, extensions
from guard_reward.redteam.searching.scoring import Score, Scored, Worth

__all__ = ["greedy"]

_SAMPLE = 48


def greedy(alone: Sequence[Scored], score: Score, worth: Worth, random: Random, *, depth: int) -> None:
    """Try compositions until there is no new one.

    Args:
        alone: every attack by itself.
        score: tries compositions; raises when its budget is spent.
        worth: more is better.
        random: of the samples, and of the order among equals.
        depth: parts of a composition, at most.
    """
    attacks = [scored.parts[0] for scored in alone]
    known: set[Composition] = set()
    open_ends = {scored.parts: _rank(scored, worth, random) for scored in alone if depth > 1}
    while open_ends:
        parts = max(open_ends, key=lambda it: open_ends[it])
        new = [it for it in dict.fromkeys(extensions(parts, attacks)) if it not in known]
        sample = random.sample(new, min(_SAMPLE, len(new)))
        if len(sample) == len(new):
            del open_ends[parts]
        else:
            value, extended, tie = open_ends[parts]
            open_ends[parts] = (value, extended - 1, tie)
        known.update(sample)
        if sample and len(sample[0]) < depth:
            open_ends |= {scored.parts: _rank(scored, worth, random) for scored in score(sample)}
        elif sample:
            score(sample)


def _rank(scored: Scored, worth: Worth, random: Random) -> tuple[tuple[float, ...], int, float]:
    """The worth, how often it was extended (negative), and a number to choose among equals."""
    return worth(scored), 0, random.random()
