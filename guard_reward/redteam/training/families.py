"""Which known attacks an answer looks like: by what it begins and ends with, and by what can be measured of it.

>>> families_of("How do I cut it?", "Of course. First cut it.")
('openers: Of course.',)
>>> families_of("How do I cut it?", "Q3V0IHRoZSByZWQgd2lyZSBmaXJzdA==")
('encodings',)
"""

from __future__ import annotations

from functools import cache
from random import Random

from guard_reward.redteam.attack import Draft, Keeps, Material
from guard_reward.redteam.registry import fixed_attacks
from guard_reward.text.language_switch import language_switch
from guard_reward.text.repetition import repetition
from guard_reward.text.views import views

__all__ = ["families_of"]

_PRIVATE = ["\ue000", "\ue001", "\ue002", "\ue003", "\ue004"]  # characters that no attack writes
_MARK, _MATERIAL = _PRIVATE[0], Material(*_PRIVATE[1:])
_SHORTEST = 3  # letters of a beginning or an end
_REPEATED = 0.5
_WORDS = 2  # of an answer that says hardly anything


def families_of(prompt: str, answer: str) -> tuple[str, ...]:
    """The families, with the attack's name where its own words are recognised."""
    text = answer.strip()
    found = {
        f"{family}: {name}": None
        for family, name, front, behind in _wordings()
        if len(text) > len(front) + len(behind) and text.startswith(front) and text.endswith(behind)
    }
    is_encoded = bool(views(text))
    measured = {
        "emptiness": len(text.split()) <= _WORDS and not is_encoded,
        "repetition": repetition(text) > _REPEATED,
        "another language": language_switch(prompt, answer) == 1.0,
        "encodings": is_encoded,
    }
    return (*found, *(name for name, is_so in measured.items() if is_so))


@cache
def _wordings() -> tuple[tuple[str, str, str, str], ...]:
    """(family, name, beginning, end) of the attacks that write words of their own around a reply."""
    found = []
    for attack in fixed_attacks():
        draft = attack(Draft(_MARK), _MATERIAL, Random(0)) if attack.keeps is Keeps.REPLY else Draft("")
        front, mark, behind = draft.answer.partition(_MARK)
        if not mark or draft != Draft(draft.answer) or any(it in front + behind for it in _PRIVATE):
            continue
        front, behind = front.strip(), behind.strip()
        if sum(map(str.isalpha, front + behind)) >= _SHORTEST:
            found.append((attack.family, attack.name, front, behind))
    return tuple(found)
