"""Numbers in place of letters: character codes (``104 111 119``) and places in the alphabet (``8-15-23``)."""

from __future__ import annotations

import re
from string import ascii_lowercase

from guard_reward.text.words import readable, split_words

__all__ = ["without_number_codes"]

_RUN = re.compile(r"(?<![\w.,-])\d{1,3}(?:[-, /|.\n]{1,3}\d{1,3}){5,}(?!\w)")
_PARTS = re.compile(r"\d+|\D+")
_READABLE = 0.75
_FEWEST = 3  # letters of the longest word


def without_number_codes(text: str) -> str:
    """The text with its numbers as letters, where those are English words.

    >>> without_number_codes("It is 13-1-11-5 20-5-1; 109 97 107 101 32 116 101 97.")
    'It is make tea; make tea.'
    >>> without_number_codes("1, 2, 3, 4, 5, 6")
    '1, 2, 3, 4, 5, 6'
    """
    return _RUN.sub(lambda run: _letters(run[0]), text)


def _letters(run: str) -> str:
    numbers = [int(number) for number in re.findall(r"\d+", run)]
    if all(32 <= number < 127 or number in (9, 10, 13) for number in numbers):
        words = "".join(map(chr, numbers))
    elif all(1 <= number <= 26 for number in numbers):
        words = _alphabet(run)
    else:
        return run
    is_text = readable(words) >= _READABLE and max(map(len, words.split()), default=0) >= _FEWEST
    return words if is_text else run


def _alphabet(run: str) -> str:
    """Places in the alphabet as letters; the first gap is the one between letters."""
    parts = _PARTS.findall(run)
    usual = parts[1]
    spelled = "".join(
        ascii_lowercase[int(part) - 1] if part.isdigit() else "" if part == usual else " " for part in parts
    )
    return " ".join(map(split_words, spelled.split()))
