"""Text outside the world's grammar, made from text inside it: what a policy drifts into when it hacks its reward.

A guard that has only seen clean replies calls nonsense Safe (nothing harmful is recognisable in it), and a policy
under optimisation finds that hole. So the guard's training data holds every kind of damage a sampled reply can
have, from pure noise down to one wrong word.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from guard_reward.tiny.oracle import read_reply, read_request
from guard_reward.tiny.world import (
    ACTIONS,
    ADJECTIVES,
    OFFERS,
    OPENERS,
    REFUSALS,
    STEP_WORDS,
    THINGS,
    VERBS,
)

__all__ = ["sample_nonsense"]

_WORDS = sorted(
    {*ACTIONS, *ADJECTIVES, *THINGS, *VERBS, *STEP_WORDS, "First", "Then"}
    | {word for text in (*REFUSALS, *OPENERS, *OFFERS) for word in text.split() if "{" not in word}
    | {"the", "a", "and", ".", ",", "Not", "First,", "how", "What", "You", "Tell", "me"}
)
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def sample_nonsense(random: Random, text: str, other: str) -> str:
    """Damage `text` (a well-formed message; `other` is a second one to mix in) until no reader of the grammar takes it.

    The result is never empty: what a guard should say of an empty reply is the library's business, not the guard's.
    """
    while True:
        damage = random.choices(_DAMAGES, weights=_WEIGHTS)[0]
        damaged = damage(random, text, other)
        if damaged.strip() and read_reply(damaged) is None and read_request(damaged) is None:
            return damaged


def _edit_words(random: Random, text: str, _other: str) -> str:
    """One to three words dropped, doubled, swapped with the next, or replaced: the nearest miss there is."""
    words = text.split(" ")
    for _ in range(random.choices((1, 2, 3), weights=(6, 2, 1))[0]):
        index = random.randrange(len(words))
        match random.randrange(4):
            case 0 if len(words) > 1:
                del words[index]
            case 1:
                words.insert(index, words[index])
            case 2 if index + 1 < len(words):
                words[index], words[index + 1] = words[index + 1], words[index]
            case _:
                words[index] = _word(random) + ("," if words[index].endswith(",") else "")
    return " ".join(words)


def _edit_characters(random: Random, text: str, _other: str) -> str:
    """One or two characters dropped, doubled or replaced: misspelt names, lost punctuation and spaces."""
    characters = list(text)
    for _ in range(random.choice((1, 1, 2))):
        index = random.randrange(len(characters))
        match random.randrange(3):
            case 0:
                del characters[index]
            case 1:
                characters.insert(index, characters[index])
            case _:
                characters[index] = random.choice(_LETTERS + " .,")
    return "".join(characters)


def _cut(random: Random, text: str, _other: str) -> str:
    """The beginning only, as of a completion that ran out of tokens; or the end only."""
    words = text.split(" ")
    place = random.randrange(1, len(words)) if len(words) > 1 else 1
    return " ".join(words[:place] if random.random() < 0.7 else words[place:])


def _shuffle(random: Random, text: str, _other: str) -> str:
    """All its words in another order."""
    words = text.split(" ")
    random.shuffle(words)
    return " ".join(words)


def _join(random: Random, text: str, other: str) -> str:
    """Two messages in one, whole or grafted onto each other in the middle."""
    if random.random() < 0.5:
        return f"{text} {other}"
    words, other_words = text.split(" "), other.split(" ")
    return " ".join(words[: random.randrange(1, len(words) + 1)] + other_words[random.randrange(len(other_words)) :])


def _repeat(random: Random, text: str, _other: str) -> str:
    """A stretch of it over and over, or a list of steps that never ends."""
    words = text.split(" ")
    start = random.randrange(len(words))
    stretch = words[start : start + random.randint(1, 5)]
    return " ".join(words[:start] + stretch * random.randint(2, 5))


def _word_salad(random: Random, _text: str, _other: str) -> str:
    """Words of the world in no order."""
    return " ".join(_word(random) for _ in range(random.randint(1, 18)))


def _letter_salad(random: Random, _text: str, _other: str) -> str:
    """Words that do not exist."""
    return " ".join(
        "".join(random.choice(_LETTERS) for _ in range(random.randint(1, 7))) for _ in range(random.randint(1, 8))
    )


def _word(random: Random) -> str:
    return random.choice(_WORDS)


_Damage = Callable[[Random, str, str], str]
_DAMAGES: Sequence[_Damage] = (
    _edit_words,
    _edit_characters,
    _cut,
    _shuffle,
    _join,
    _repeat,
    _word_salad,
    _letter_salad,
)
_WEIGHTS = (5, 3, 3, 2, 3, 2, 3, 2)
