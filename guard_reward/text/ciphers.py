"""Letters for letters: Caesar (rot13 is one), Atbash, and what is written backwards, as a whole or word by word.

A frequent English word has the same distances between its letters under every shift. So one look into a table says by
which shift an unknown word becomes a frequent one. A stretch of text is read so only if that makes it English.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from functools import cache, lru_cache
from string import ascii_lowercase, ascii_uppercase

from guard_reward.text.words import english_words, readable

__all__ = ["deciphered"]

_WORD = re.compile(r"[A-Za-z]+")
_FEWEST = 3  # letters of a word that counts
_EVIDENCE = 5  # letters behind the first ones of the different words that agree: "how", "make"
_READABLE = 0.5  # share of letters in words, after
_UNREADABLE = 0.4  # and before
_PLAIN = 2  # words of plain English, one after the other, that end a stretch
_ATBASH, _BACKWARDS = "atbash", "backwards"
_MIRROR = str.maketrans(ascii_lowercase + ascii_uppercase, ascii_lowercase[::-1] + ascii_uppercase[::-1])
_SHIFTS = [
    str.maketrans(
        ascii_lowercase + ascii_uppercase,
        ascii_lowercase[shift:] + ascii_lowercase[:shift] + ascii_uppercase[shift:] + ascii_uppercase[:shift],
    )
    for shift in range(26)
]


def deciphered(text: str) -> str:
    """The text with its enciphered stretches as plain text.

    >>> deciphered("Sure. Ubj gb znxr grn jvgu zvyx."), deciphered("Xlmrxv")
    ('Sure. How to make tea with milk.', 'Xlmrxv')
    """
    unknown = {word for word in _WORD.findall(text.lower()) if len(word) >= _FEWEST} - english_words()
    readings = {word: _readings(word) for word in unknown}
    counts = Counter(reading for found in readings.values() for reading in found)
    words = list(_WORD.finditer(text)) if counts and max(counts.values()) > 1 else []
    for reading, count in counts.most_common(2):
        if count > 1:
            agreeing = {word for word, found in readings.items() if reading in found}
            spans = [span for span in _stretches(words, agreeing) if _is_cipher(text[slice(*span)], reading, agreeing)]
            for start, end in reversed(spans):
                text = text[:start] + _read(text[start:end], reading) + text[end:]
            if spans:
                return text
    return text


@lru_cache(maxsize=4096)
def _readings(word: str) -> frozenset[str | int]:
    """How an unknown word becomes a frequent one: shifts from 1 to 25, ``atbash``, ``backwards``."""
    place = ord(word[0]) - ord("a")
    found: set[str | int] = {
        (ord(first) - ord(word[0])) % 26 for first in _shapes().get(word.translate(_SHIFTS[-place]), "")
    }
    if word.translate(_MIRROR) in english_words():
        found.add(_ATBASH)
    if word[::-1] in english_words():
        found.add(_BACKWARDS)
    return frozenset(found)


@cache
def _shapes() -> Mapping[str, str]:
    """Word, shifted to begin with an a → the first letters of the frequent words that look so."""
    shapes: dict[str, str] = {}
    for word in english_words():
        shape = word.translate(_SHIFTS[ord("a") - ord(word[0])])
        shapes[shape] = shapes.get(shape, "") + word[0]
    return shapes


def _stretches(words: Sequence[re.Match[str]], agreeing: Set[str]) -> Iterator[tuple[int, int]]:
    """Where a text is not plain English: from a word to a word, over single plain ones between them."""
    start, end, plain = 0, 0, _PLAIN
    for word in words:
        lower = word[0].lower()
        if lower in english_words() and lower not in agreeing:
            plain += 1
            continue
        if plain >= _PLAIN:
            if end:
                yield start, end
            start = word.start()
        end, plain = word.end(), 0
    if end:
        yield start, end


def _is_cipher(stretch: str, reading: str | int, agreeing: Set[str]) -> bool:
    found = agreeing & {word.lower() for word in _WORD.findall(stretch)}
    evidence = sum(len(word) - 1 for word in found)
    return (
        len(found) > 1
        and evidence >= _EVIDENCE
        and readable(stretch) <= _UNREADABLE
        and readable(_read(stretch, reading)) >= _READABLE
    )


def _read(stretch: str, reading: str | int) -> str:
    if isinstance(reading, int):
        return stretch.translate(_SHIFTS[reading])
    if reading == _ATBASH:
        return stretch.translate(_MIRROR)
    # Which of the two a text is can not be seen from its words.
    return stretch[::-1] + "\n" + _WORD.sub(lambda word: word[0][::-1], stretch)
