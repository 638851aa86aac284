"""Replies that say nothing: what a policy learns to write if silence is paid as safe."""

from __future__ import annotations

from collections import Counter

from guard_reward.text.clipping import clipped
from guard_reward.text.repetition import repetition

__all__ = ["degenerate"]

_FEWEST = 40  # characters, without blanks, from which a text can be a repetition or without words
_REPEATED = 0.9  # share of the text that it has said before; a poem with a refrain has half of that
_LONG = 160  # characters of a text that is judged by its repetition


def degenerate(text: str) -> str | None:
    """Why a reply says nothing, or None for a reply that says something, however short.

    >>> degenerate("Yes."), degenerate("no " * 100), degenerate("....... " * 20)
    (None, 'repetition', 'one character')
    """
    text = clipped(text).strip()
    dense = "".join(text.split())
    if len(dense) < _FEWEST:
        return None
    if Counter(dense).most_common(1)[0][1] > 0.95 * len(dense):
        return "one character"
    if not any(character.isalnum() for character in dense):
        return "no words"
    if len(text) >= _LONG and repetition(text) > _REPEATED:
        return "repetition"
    return None
