"""Braille cells as letters."""

from __future__ import annotations

import re

from guard_reward.text.words import readable

__all__ = ["without_braille"]

_TABLE = str.maketrans("⠁⠃⠉⠙⠑⠋⠛⠓⠊⠚⠅⠇⠍⠝⠕⠏⠟⠗⠎⠞⠥⠧⠺⠭⠽⠵⠀⠂⠆⠒⠲⠦⠖⠤⠄", "abcdefghijklmnopqrstuvwxyz ,;:.?!-'")
_RUN = re.compile("[\u2800-\u28ff][\u2800-\u28ff \n]{4,}")
_READABLE = 0.6  # share of letters in words; pictures made of cells have less


def without_braille(text: str) -> str:
    """The text with its Braille as letters, where those are English words.

    >>> without_braille("Do: ⠍⠁⠅⠑ ⠞⠑⠁"), without_braille("⣿⣿⡿⠛⠉⠉⠛⢿⣿⣿")
    ('Do: make tea', '⣿⣿⡿⠛⠉⠉⠛⢿⣿⣿')
    """
    return text if text.isascii() else _RUN.sub(lambda run: _letters(run[0]), text)


def _letters(run: str) -> str:
    letters = run.translate(_TABLE)
    return letters if readable(letters) >= _READABLE else run
