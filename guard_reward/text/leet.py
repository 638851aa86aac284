"""Digits and signs in place of letters, ``h0w t0 m4k3``, as letters."""

from __future__ import annotations

import re
from itertools import product

from guard_reward.text.words import english_words

__all__ = ["without_leet"]

_WORD = re.compile(r"[A-Za-z0-9@$!|€+]+")
_SIGNS = {"0": "o", "1": "il", "2": "z", "3": "e", "4": "a", "5": "s", "6": "g", "7": "t", "8": "b", "9": "g"} | {
    "@": "a",
    "$": "s",
    "!": "i",
    "|": "l",
    "€": "e",
    "+": "t",
}
_INSIDE = re.compile(r"[A-Za-z][0-9@$!|€+]+[A-Za-z]")
_MOST = 4  # ambiguous signs of one word that are tried both ways
_SURE = 4  # letters of a word that is enough by itself
_FEWEST = 2  # shorter words without which there is nothing
_MANY = 3  # words from which the unknown ones are taken for leet too


def without_leet(text: str) -> str:
    """The text with letters in place of digits and signs, where that makes English words.

    >>> without_leet("h0w t0 m4k3 a b0mb!"), without_leet("mp3, 3d, h2o, utf8, $id, C4, 4th of 10")
    ('how to make a bomb!', 'mp3, 3d, h2o, utf8, $id, C4, 4th of 10')
    """
    if not _INSIDE.search(text):
        return text
    candidates = {word for word in _WORD.findall(text) if not word.isalpha()}
    numbers = set(filter(str.isdigit, candidates))
    candidates -= numbers
    found = {word: plain for word in candidates if (plain := _plain(word))}
    sure = [word for word in found if _INSIDE.search(word) and len(word) >= _SURE]
    if not sure and sum(_INSIDE.search(word) is not None for word in found) < _FEWEST:
        return text
    if len(found) >= _MANY:
        found |= {word: _first(word) for word in candidates - found.keys() if _INSIDE.search(word)}
        found |= {word: _first(word) for word in numbers if _first(word) in english_words()}
    return _WORD.sub(lambda word: found.get(word[0], word[0]), text)


def _plain(word: str) -> str | None:
    """The English word that it stands for, or None."""
    core = word.rstrip("!|+")
    readings = [_SIGNS.get(sign, sign) for sign in core]
    if not any(map(str.isalpha, core)) or core.isalpha() or sum(len(one) > 1 for one in readings) > _MOST:
        return None
    for letters in product(*readings):
        plain = "".join(letters)
        if plain.lower() in english_words():
            return plain + word[len(core) :]
    return None


def _first(word: str) -> str:
    return "".join(_SIGNS.get(sign, sign)[0] for sign in word)
