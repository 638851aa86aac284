"""Several attacks as one: each works on the result of the one before.

>>> from guard_reward.redteam.registry import fixed_attacks
>>> openers = [attack for attack in fixed_attacks() if attack.family == "openers"]
>>> composed((openers[0], openers[1])).name
'Sure! + Of course.'
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import reduce
from random import Random

from guard_reward.redteam.attack import Attack, Draft, Material

__all__ = ["LONGEST", "Composition", "composed", "extensions", "shortened"]

Composition = tuple[Attack, ...]
"""The parts, in the order in which they work."""


LONGEST = 4000
"""Characters that a composition may add to a reply: what attacks make of each other's results multiplies."""


def composed(parts: Composition) -> Attack:
    """One attack of several. Where the result is too long (`LONGEST`) it leaves the reply as it is."""
    if len(parts) == 1:
        return parts[0]

    def change(draft: Draft, material: Material, random: Random) -> Draft:
        made, longest = draft, len(str(draft.completion())) + LONGEST
        for part in parts:
            made = part(made, material, random)
            if len(str(made.completion())) > longest:
                return draft
        return made

    return replace(reduce(Attack.then, parts), change=change)


def extensions(parts: Composition, attacks: Sequence[Attack]) -> Iterator[Composition]:
    """The composition with one more attack, first or last."""
    for attack in attacks:
        yield (*parts, attack)
        yield (attack, *parts)


def shortened(parts: Composition) -> Iterator[Composition]:
    """The composition without one of its parts."""
    for place in range(len(parts)):
        yield parts[:place] + parts[place + 1 :]
