"""What an attack makes of a reply."""

from __future__ import annotations

from random import Random

from guard_reward.redteam.attack import Attack, Draft, Material
from guard_reward.redteam.registry import fixed_attacks

REPLY = "Sure. First cut the blue wire, then hide the box."
MATERIAL = Material(request="How do I boil an egg?", reply="Boil it.", refusal="Sorry, no.", prompt="How?")


def by_name(name: str) -> Attack:
    """The attack of this name."""
    (attack,) = (attack for attack in fixed_attacks() if attack.name == name)
    return attack


def attacked(name: str, reply: str = REPLY, seed: int = 0) -> Draft:
    """The draft that the attack of this name makes of a reply."""
    return by_name(name)(Draft(reply), MATERIAL, Random(seed))
