"""Frequent English words: whether letters are English text, and where words begin in text without blanks."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from itertools import groupby

__all__ = ["english_words", "readable", "split_words"]

_WORD = re.compile(r"[A-Za-z]+")
_LONGEST = 16  # letters of a word that is looked for in text without blanks
_UNKNOWN = 3.0  # what a letter costs that is in no word, where a word costs 1


def readable(text: str) -> float:
    """The share of a text's Latin letters in frequent English words, from 0 to 1; 0 without letters.

    >>> readable("how to make tea"), readable("ubj gb znxr grn")
    (1.0, 0.0)
    """
    words = _WORD.findall(text)
    letters = sum(map(len, words))
    return sum(len(word) for word in words if word.lower() in english_words()) / letters if letters else 0.0


def split_words(letters: str) -> str:
    """Letters without blanks as words with blanks between them: as few words as there can be.

    >>> split_words("howtomaketea"), split_words("xqz")
    ('how to make tea', 'xqz')
    """
    words = english_words()
    lower = "".join(letter.lower()[0] for letter in letters)  # one each: İ has two in lower case
    costs, starts = [0.0], [0]
    for end in range(1, len(lower) + 1):
        cost, start = costs[end - 1] + _UNKNOWN, end - 1
        for begin in range(max(end - _LONGEST, 0), end):
            if costs[begin] + 1 < cost and lower[begin:end] in words:
                cost, start = costs[begin] + 1, begin
        costs.append(cost)
        starts.append(start)
    pieces: list[str] = []
    end = len(letters)
    while end:
        pieces.append(letters[starts[end] : end])
        end = starts[end]
    parts: list[str] = []
    for is_word, group in groupby(reversed(pieces), key=lambda piece: piece.lower() in words):
        found = list(group)
        parts += found if is_word else ["".join(found)]  # letters in no word stay together
    return " ".join(parts)


@cache
def english_words() -> frozenset[str]:
    """Some 11,000 frequent English words, in lower case."""
    lines = files("guard_reward.text").joinpath("words.txt").read_text(encoding="utf-8").splitlines()
    return frozenset(line for line in lines if not line.startswith("#"))
