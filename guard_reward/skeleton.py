"""Text as it looks: look-alike characters as one letter, invisible ones as nothing.

A policy can write ``USER:`` in fullwidth letters, with a Greek letter, or with a zero-width space in it. `Skeleton`
folds all of these to the same characters, so that one pattern finds them. Idea and table of look-alikes are those of
Unicode Technical Standard 39, section 4 (the table through the package confusable-homoglyphs).

| character | folded |
|---|---|
| a letter or digit that is, or looks like, one of A-Z, a-z, 0-9 | the upper-case letter or digit |
| another letter or digit | ``w`` |
| invisible, combining, a control character, inline markup (``*`` ``_`` ``~`` `````) | ``NOTHING`` |
| a blank, a tab | a blank |
| a line separator: LF, CR, VT, FF, FS, GS, RS, NEL, U+2028, U+2029 | LF |
| what looks like a colon, or a vertical bar | ``:``, or ``|`` |
| an opening or closing bracket | ``<`` or ``>`` |
| other punctuation, symbols | ``.`` |
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache

__all__ = ["INVISIBLE_LETTERS", "NOTHING", "Skeleton"]

NOTHING = "\x00"
"""Stands for a character that shows nothing of its own."""

INVISIBLE_LETTERS = "\u115f\u1160\u2800\u3164\uffa0\U00013441\U00013442"
"""Letters and symbols without a form: Hangul fillers, the empty Braille cell, the blanks among the hieroglyphs."""

_LINE_SEPARATORS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
_INLINE_MARKUP = "*_~`"
_INVISIBLE_CATEGORIES = ("Mn", "Me", "Mc", "Cf", "Cc", "Cs", "Co", "Cn")
_PUNCTUATION = {":": ":", "|": "|", "<": "<", ">": ">"}
_LETTER_NAME = re.compile(r"(?:.* )?(?:LATIN|REGIONAL INDICATOR SYMBOL)\b.*\bLETTER (?:[A-Z]+ )*([A-Z])(?: WITH .*)?")


class Skeleton:
    """A text's folded characters, and where each of them is in the text.

    Attributes:
        folded: the folded text.

    >>> skeleton = Skeleton("UＳ\\u200bΕR：")
    >>> skeleton.folded.replace(NOTHING, "")
    'USER:'
    >>> skeleton.span(0, 2)
    (0, 2)
    """

    def __init__(self, text: str):
        self.folded = text.translate(_FOLD)
        # Nothing folds to less than one character, so that equal lengths mean one for one.
        self._starts: Sequence[int] | None = None
        if len(self.folded) != len(text):
            self._starts = [index for index, character in enumerate(text) for _ in _FOLD[ord(character)]]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Where the folded characters from `start` to `end` (at least one) are in the text."""
        if self._starts is None:
            return start, end
        return self._starts[start], self._starts[end - 1] + 1


class _FoldTable(dict[int, str]):
    """Code point → folded characters, filled on demand, for ``str.translate``."""

    def __missing__(self, code: int) -> str:
        self[code] = folded = _fold(chr(code))
        return folded


_FOLD = _FoldTable()


def _fold(character: str) -> str:
    if character in _LINE_SEPARATORS:
        return "\n"
    category = unicodedata.category(character)
    if category == "Zs" or character == "\t":
        return " "
    if character in _INLINE_MARKUP or character in INVISIBLE_LETTERS or category == "Cf":
        return NOTHING
    for candidate in _look_alikes(character):
        if candidate in _PUNCTUATION:
            return _PUNCTUATION[candidate]
        if candidate.isascii() and candidate.isalnum():
            return candidate.upper()
    if category in _INVISIBLE_CATEGORIES:
        return NOTHING
    if category[0] in "LN":
        return "w"
    return {"Ps": "<", "Pe": ">"}.get(category, ".")


def _look_alikes(character: str) -> Iterator[str]:
    """What the character could be read as, the surest first."""
    yield character
    if character.isascii():  # the table also lists what looks like ASCII among ASCII, such as l, I and 1
        return
    decomposed = unicodedata.normalize("NFKD", character)
    yield "".join(part for part in decomposed if not unicodedata.combining(part))
    yield from _confusables().get(character, ())
    if name := _LETTER_NAME.fullmatch(unicodedata.name(character, "")):
        yield name[1]


@cache
def _confusables() -> dict[str, list[str]]:
    """Character → what it looks like, from Unicode's table."""
    from confusable_homoglyphs import confusables  # a megabyte of JSON: only for texts that are not ASCII

    # In the table, right-to-left characters stand between directional marks.
    return {
        character.strip("\u200e"): [other["c"].strip("\u200e") for other in others]
        for character, others in confusables.confusables_data.items()
    }
