"""Repetition: the share of a text that it has said before, in any language, with spaces between words or without."""

from __future__ import annotations

from guard_reward.text.clipping import characters, clipped

__all__ = ["repetition"]

_LENGTH = 8  # characters of a sequence: a word or two
_FACTOR = 0x9E3779B97F4A7C15


def repetition(text: str) -> float:
    """The share of sequences of eight characters that stood in the text before, from 0 to 1; 0 for a shorter text.

    >>> repetition("ask the owner for the key")
    0.0
    >>> round(repetition("ask the owner, " * 20), 2)
    0.95
    """
    import numpy as np

    codes = characters(clipped(text))
    count = len(codes) - _LENGTH + 1
    if count < 2:
        return 0.0
    hashes = np.zeros(count, np.uint64)
    for start in range(_LENGTH):
        hashes = hashes * np.uint64(_FACTOR) + codes[start : start + count]
    return 1.0 - len(np.unique(hashes)) / count
