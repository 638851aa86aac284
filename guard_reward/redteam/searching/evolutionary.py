"""Evolutionary search: a population of compositions, changed a little, of which the better half stays."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from guard_reward.redteam.attack import Attack
from guard_reward.redteam.searching.composition import Composition
from guard_reward.redteam.searching.scoring import Score, Scored, Worth

__all__ = ["evolutionary"]

_POPULATION = 48
_FRUITLESS = 500  # tries to find a composition that is new


def evolutionary(alone: Sequence[Scored], score: Score, worth: Worth, random: Random, *, depth: int) -> None:
    """Try compositions until there seems to be no new one.

    Args:
        alone: every attack by itself.
        score: tries compositions; raises when its budget is spent.
        worth: more is better.
        random: of all choices.
        depth: parts of a composition, at most.
    """
    attacks = [scored.parts[0] for scored in alone]
    known = {scored.parts for scored in alone}
    population = sorted(random.sample(alone, len(alone)), key=worth, reverse=True)[:_POPULATION]
    while population and (children := _children(population, attacks, known, random, depth)):
        known.update(children)
        # New ones first among equals: without any gain to follow, the population moves on.
        population = sorted([*score(children), *population], key=worth, reverse=True)[:_POPULATION]


def _children(
    population: Sequence[Scored], attacks: Sequence[Attack], known: set[Composition], random: Random, depth: int
) -> list[Composition]:
    """Half as many new compositions as the population has."""
    found: dict[Composition, None] = {}  # in order
    for _ in range(_FRUITLESS):
        # The population is sorted, the best first: the better of two is the one in front.
        mother, father = (population[min(random.choices(range(len(population)), k=2))].parts for _ in range(2))
        child = _changed(mother, father, attacks, random)
        if 1 < len(child) <= depth and child not in known:
            found[child] = None
        if len(found) == max(_POPULATION // 2, 1):
            break
    return list(found)


def _changed(parts: Composition, other: Composition, attacks: Sequence[Attack], random: Random) -> Composition:
    """A part more, less or replaced, another order, or a beginning with the end of another composition."""
    place = random.randrange(len(parts))
    match random.choice(("fresh", "add", "add", "replace", "drop", "order", "cross")):
        case "fresh":
            return tuple(random.choices(attacks, k=random.randint(2, 3)))
        case "add":
            place = random.randint(0, len(parts))
            return (*parts[:place], random.choice(attacks), *parts[place:])
        case "replace":
            return (*parts[:place], random.choice(attacks), *parts[place + 1 :])
        case "drop":
            return (*parts[:place], *parts[place + 1 :])
        case "order":
            return tuple(random.sample(parts, len(parts)))
        case _:
            return (*parts[: place + 1], *other[random.randrange(len(other)) :])
