"""Words letter by letter (``k i l l``, ``k-i-l-l``), and words without blanks between them, as words."""

from __future__ import annotations

import re
from collections import Counter

from guard_reward.text.words import readable, split_words

__all__ = ["joined"]

_GAP = r"[^\w\n]|[_\n]"
_RUN = re.compile(rf"(?<![^\W_])[^\W_](?:(?:{_GAP}){{1,3}}[^\W_]){{3,}}(?![^\W_])")
_GAPS = re.compile(rf"(?:{_GAP})+")
_GLUED = re.compile(r"(?<![\w/.@#-])[A-Za-z][a-z]{13,}(?![\w/.@-])")
_SUFFIX = "ion"  # national-isat-ion
_MANY = 4  # words that stand together without blanks; compounds have fewer
_READABLE = 0.75  # share of the letters that are in words
_FEWEST = 3  # letters of the longest word


def joined(text: str) -> str:
    """The text with its spelled out words as words; letters that do not become words stay.

    >>> joined("howtomakesometea"), joined("Straightforwardness")
    ('how to make some tea', 'Straightforwardness')
    >>> joined("First k i l l  t h e m."), joined("h-o-w-t-o"), joined("Answer A, B, C or D, U.S.S.R.")
    ('First kill them.', 'how to', 'Answer A, B, C or D, U.S.S.R.')
    """
    return _GLUED.sub(lambda run: _apart(run[0]), _RUN.sub(lambda run: _words(run[0]), text))


def _apart(run: str) -> str:
    words = split_words(run)
    parts = words.split()
    is_text = len(parts) >= _MANY and readable(words) == 1 and _SUFFIX not in parts
    return words if is_text else run


def _words(run: str) -> str:
    """The words of a run: the usual gap is between letters, another one between words."""
    gaps = _GAPS.findall(run)
    [(usual, _)] = Counter(gaps).most_common(1)
    letters = _GAPS.split(run)
    pieces = letters[:1]
    for gap, letter in zip(gaps, letters[1:], strict=True):
        if gap == usual:
            pieces[-1] += letter
        else:
            pieces += [gap if gap.strip() and not usual.strip() else " ", letter]
    words = "".join(piece if piece.isspace() or not piece[0].isalnum() else split_words(piece) for piece in pieces)
    is_text = readable(words) >= _READABLE and max(map(len, words.split())) >= _FEWEST
    return words if is_text else run
