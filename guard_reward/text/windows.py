"""Overlapping windows over a long text: what a guard is shown piece by piece."""

from __future__ import annotations

import unicodedata

__all__ = ["windows"]

_SMALLEST = 16
_JOINERS = "\u200c\u200d"


def windows(text: str, size: int, overlap: float) -> tuple[str, ...]:
    """The text in windows that cover it; () if it has at most `size` characters.

    A window begins and ends behind a blank where there is one near, else between two characters that a reader sees as
    two. Each has at most `size` characters. The last one is as long as the others: it repeats more.

    Args:
        text: of any length.
        size: characters of a window, at least 16.
        overlap: the share of a window that the next one repeats, from 0 up to 0.9.

    Raises:
        ValueError: `size` or `overlap` is out of range.

    >>> windows("Ask the owner of the house for the key, please.", 24, 0.25)
    ('Ask the owner of the ', 'of the house for the ', 'for the key, please.')
    """
    if size < _SMALLEST:
        raise ValueError(f"windows: size should be at least {_SMALLEST}, found {size}")
    if not 0 <= overlap <= 0.9:
        raise ValueError(f"windows: overlap should be from 0 to 0.9, found {overlap}")
    if len(text) <= size:
        return ()
    repeated = int(overlap * size)
    near = (size - repeated) // 4  # an end and a beginning are both moved, and still each window brings something new
    found, start = [], 0
    while start + size < len(text):
        end = _cut(text, start + size, near)
        found.append(text[start:end])
        start = max(_cut(text, end - repeated, near), start + 1)
        start += _in_pair(text, start)
    latest = len(text) - size + near
    found.append(text[start if start <= latest else _cut(text, latest, near) :])
    return tuple(found)


def _cut(text: str, place: int, near: int) -> int:
    """The last place up to `place`, and not more than `near` before it, where a text can be cut."""
    places = range(place, max(place - near, 1) - 1, -1)
    for at in places:
        if text[at - 1].isspace() and not _continues(text, at):
            return at
    for at in places:
        if not _continues(text, at):
            return at
    return place - _in_pair(text, place)


def _continues(text: str, place: int) -> bool:
    """Whether the character at a place belongs to the one in front of it."""
    here, before = text[place], text[place - 1]
    return (
        unicodedata.category(here)[0] == "M"  # accents, vowel signs, variation selectors
        or here in _JOINERS
        or before in _JOINERS
        or "\u1160" <= here <= "\u11ff"  # the rest of a Korean syllable
        or "\U0001f1e6" <= here <= "\U0001f1ff"  # the second half of a flag, or the first: both stay
        or "\U0001f3fb" <= here <= "\U0001f3ff"  # the colour of a skin
        or "\U000e0000" <= here <= "\U000e007f"
        or here + before == "\n\r"
        or _in_pair(text, place)
    )


def _in_pair(text: str, place: int) -> bool:
    """Whether a place is between the halves of a surrogate pair."""
    return "\ud800" <= text[place - 1] <= "\udbff" and "\udc00" <= text[place] <= "\udfff"
