"""The part of a text that is measured: all of a usual answer, beginning and end of a very long one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["MEASURED", "characters", "clipped"]

MEASURED = 8192
"""Characters of a text that are measured, at most: the cost of a rollout has an upper limit."""


def clipped(text: str, limit: int = MEASURED) -> str:
    """The text, or its first and last half of `limit` characters.

    >>> clipped("abcdefgh", limit=4)
    'abgh'
    """
    return text if len(text) <= limit else text[: limit - limit // 2] + text[len(text) - limit // 2 :]


def characters(text: str) -> NDArray[np.uint64]:
    """The code points of a text, half surrogate pairs too, shape (characters,)."""
    import numpy as np

    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint64)
