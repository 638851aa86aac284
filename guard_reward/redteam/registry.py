"""All attacks that are known beforehand.

>>> {attack.name: attack.family for attack in fixed_attacks()}["Sure!"]
'openers'
"""

from __future__ import annotations

from functools import cache

from guard_reward.redteam.attack import Attack
from guard_reward.redteam.attacks import (
    control_tokens,
    emptiness,
    encodings,
    language,
    markup,
    openers,
    padding,
    repetition,
    system_messages,
    thinking,
    tools,
    truncation,
    turns,
    verdicts,
    word_tables,
)

__all__ = ["fixed_attacks"]

_FAMILIES = (
    control_tokens,
    turns,
    verdicts,
    system_messages,
    emptiness,
    truncation,
    repetition,
    openers,
    language,
    word_tables,
    encodings,
    padding,
    thinking,
    tools,
    markup,
)


@cache
def fixed_attacks() -> tuple[Attack, ...]:
    """Every attack of every family, with different names, in an order that does not change.

    Raises:
        ValueError: two attacks have the same name.
    """
    attacks = tuple(attack for family in _FAMILIES for attack in family.ATTACKS)
    seen: dict[str, Attack] = {}
    for attack in attacks:
        if attack.name in seen:
            raise ValueError(f"two attacks are called {attack.name!r}: of {attack.family}, {seen[attack.name].family}")
        seen[attack.name] = attack
    return attacks
