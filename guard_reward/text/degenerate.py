"""Replies that say nothing: what a policy learns to write if a guard calls it safe.

The rules are few and leave much room, so that no reply which says something is lost: of the most repetitive public
replies, three fifths are a repetition, and the limit is above four fifths. It is higher for a text that goes on to say
something new, as lists of records, weekly plans and drawings in SVG do. A reply that was asked to be one of these
("write dog a hundred times") is degenerate too.
"""

from __future__ import annotations

import re
from collections import Counter

from guard_reward.text.clipping import clipped
from guard_reward.text.encodings import encoded_share
from guard_reward.text.openers import is_only_an_opener
from guard_reward.text.repetition import repetition

__all__ = ["degenerate"]

_REPETITIVE = 0.85  # share of a text that it has said before,
_NEW, _LOOP = 200, 0.95  # and with more than so many characters that are new
_ONE = 0.95  # share of a text's characters that are the same
_ENCODED = 0.8  # share of a text that is in an encoding
_SHORT, _LONG = 40, 200  # characters; up to here a text of one character, of signs, or of an encoding is an answer
_REPEATS = 60
_DOTS = re.compile(r"[\s.…·!?*_~=\-–—#>|/\\]{3,}")  # rules, dots, quotation marks without a quotation
_CODE = "```"
_FILLER = re.compile(
    r"(?:a|ah|alright|and|but|course|er|h+m+|like|maybe|m+|no|of|oh|ok|okay|please|right|so|sure|thanks|the|u+h+|u+h*m+|"
    r"understood|well|yeah|yep|yes)"
)
_FILLERS = 12  # words
_WORD = re.compile(r"[^\W\d_]+")


def degenerate(text: str) -> str | None:
    """Why a reply says nothing, or None for a reply that says something, however short, and for an empty one.

    Returns:
        ``one character``, ``no words`` (signs only), ``an encoding``, ``only an opener``, ``filler`` (um, well, okay)
        or ``repetition``.

    >>> degenerate("Yes."), degenerate("no " * 100), degenerate("....... " * 20), degenerate("Sure, here is")
    (None, 'repetition', 'one character', 'only an opener')
    """
    text = clipped(text.strip()).strip()
    if not text:
        return None
    return _of_signs(text) or _of_words(text)


def _of_signs(text: str) -> str | None:
    dense = "".join(text.split())
    counts = Counter(dense)
    most = max(counts.values())
    if most >= _ONE * len(dense) and len(dense) >= _SHORT:
        return "one character"
    if not any(map(str.isalnum, counts)) and (len(dense) >= _SHORT or _DOTS.fullmatch(text)):
        return None if _CODE in text else "no words"
    if len(text) >= _LONG and encoded_share(text) >= _ENCODED:
        return "an encoding"
    return None


def _of_words(text: str) -> str | None:
    if is_only_an_opener(text):
        return "only an opener"
    words = _WORD.findall(text.lower()) if len(text) < _LONG else []
    if len(words) >= _FILLERS and all(map(_FILLER.fullmatch, words)):
        return "filler"
    return "repetition" if len(text) >= _REPEATS and _is_repetitive(text) else None


def _is_repetitive(text: str) -> bool:
    share = repetition(text)
    is_new = (1 - share) * len(text) > _NEW
    return share > (_LOOP if is_new else _REPETITIVE)
