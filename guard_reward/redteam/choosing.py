"""Which attacks are run: the known ones and the user's, by family and name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from guard_reward.errors import UserError
from guard_reward.redteam.attack import Attack
from guard_reward.redteam.own import attacks_at, read_attacks

__all__ = ["choose_attacks"]


def choose_attacks(
    known: Sequence[Attack],
    *,
    families: Sequence[str] = (),
    names: Sequence[str] = (),
    file: Path | None = None,
) -> list[Attack]:
    """The attacks that a command line asks for.

    Args:
        known: the attacks that are there.
        families: only those of these families; empty for all.
        names: only these: names of attacks, or dotted paths of the user's own.
        file: the user's own, which are chosen from too.

    Raises:
        UserError: an unknown family or name, two attacks of one name, or no attack.
    """
    attacks = [*known, *(read_attacks(file) if file is not None else ())]
    _check_names(attacks)
    wanted = [attack for attack in attacks if not families or attack.family in families]
    for family in families:
        if all(attack.family != family for attack in attacks):
            there = ", ".join(dict.fromkeys(attack.family for attack in attacks))
            raise UserError(f"family: there is no {family!r}; there are {there}")
    if not names:
        return wanted
    by_name = {attack.name: attack for attack in attacks}
    chosen: list[Attack] = [] if not families else wanted
    for name in names:
        chosen += [by_name[name]] if name in by_name else _at(name)
    chosen = list(dict.fromkeys(chosen))
    _check_names(chosen)
    return chosen


def _at(name: str) -> list[Attack]:
    if "." not in name.strip("."):
        raise UserError(f"attack: there is no {name!r}; give a name (--list shows them) or package.module.function")
    return attacks_at(name)


def _check_names(attacks: Sequence[Attack]) -> None:
    seen: set[str] = set()
    for attack in attacks:
        if attack.name in seen:
            raise UserError(f"attack: two are called {attack.name!r}: give yours another name")
        seen.add(attack.name)
