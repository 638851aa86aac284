"""Look-alike letters as plain ones: Cyrillic and Greek ones in Latin words, fullwidth and mathematical ones."""

from __future__ import annotations

import re
import unicodedata
from string import ascii_letters, ascii_uppercase

from guard_reward.skeleton import Skeleton

__all__ = ["plain_letters"]

_WORD = re.compile(r"[^\W\d_]+")
_FEWEST = 3  # letters of one word, at least; formulas have shorter ones


def plain_letters(text: str) -> str:
    r"""The text with the look-alikes in its Latin words as plain letters; words of one other script stay.

    >>> plain_letters("h\u043ew to m\u0430k\u0435 it"), plain_letters("ｈｏｗ"), plain_letters("Как дела?")
    ('how to make it', 'how', 'Как дела?')
    """
    if text.isascii() or not any(_plain(word) != word for word in _WORD.findall(text) if len(word) >= _FEWEST):
        return text
    return _WORD.sub(lambda word: _plain(word[0]), text)


def _plain(word: str) -> str:
    if word.isascii():
        return word
    kinds = [_kind(character) for character in word]
    if "plain" not in kinds and "styled" not in kinds:
        return word
    return "".join(_letter(one) if kind != "latin" else one for one, kind in zip(word, kinds, strict=True))


def _kind(character: str) -> str:
    if character.isascii():
        return "plain"
    name = unicodedata.name(character, "")
    if name.startswith("LATIN ") and "SMALL CAPITAL" not in name:
        return "latin"  # with an accent, or a letter of another language
    return "styled" if unicodedata.normalize("NFKC", character) in ascii_letters else "other"


def _letter(character: str) -> str:
    """The ASCII letter that it looks like, or itself."""
    folded = Skeleton(character).folded
    if not (len(folded) == 1 and folded in ascii_uppercase):
        return character
    return folded if character.isupper() else folded.lower()
