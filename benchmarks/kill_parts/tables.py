"""Two outputs of one job, compared row by row."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import astuple, dataclass
from operator import add
from pathlib import Path
from typing import Any

__all__ = ["Tally", "compared", "json_lines"]

Rows = Iterable[tuple[Hashable, Any]]
"""Keys and values."""


@dataclass(frozen=True)
class Tally:
    """How an output differs from that of a run without kills.

    Attributes:
        rows: that should be there.
        lost: keys that are not there, or less often.
        twice: rows too many, keys that should not be there included.
        different: rows with another value.
    """

    rows: int = 0
    lost: int = 0
    twice: int = 0
    different: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(*map(add, astuple(self), astuple(other)))

    @property
    def is_clean(self) -> bool:
        """Whether nothing differs."""
        return not (self.lost or self.twice or self.different)


def compared(expected: Rows, found: Rows) -> Tally:
    """The tally of an output.

    >>> compared([(1, "a"), (2, "b"), (3, "c")], [(1, "a"), (3, "x"), (3, "c")])
    Tally(rows=3, lost=1, twice=1, different=1)
    """
    wanted, there = list(expected), list(found)
    counts, there_counts = (Counter(key for key, _ in rows) for rows in (wanted, there))
    values = dict(wanted)
    return Tally(
        rows=len(wanted),
        lost=(counts - there_counts).total(),
        twice=(there_counts - counts).total(),
        different=sum(key in values and values[key] != value for key, value in there),
    )


def json_lines(path: Path) -> list[Any]:
    """The file's rows.

    Raises:
        ValueError: a half line.
    """
    text = path.read_text(encoding="utf-8")
    if text and not text.endswith("\n"):
        raise ValueError(f"{path} ends in half a line")
    return [json.loads(line) for line in text.splitlines()]
