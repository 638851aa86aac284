"""Length, in tokens where the trainer passes them, else in characters."""

from __future__ import annotations

__all__ = ["length"]


def length(text: str, tokens: int | None) -> float:
    """The number of tokens, or of characters if that is not known.

    >>> length("ask her", 3), length("ask her", None)
    (3.0, 7.0)
    """
    return float(len(text) if tokens is None else tokens)
