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

_EXAMPLES = 6

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
        examples: the first keys of rows that are not as they should be, and of mappings what differs.
    """

    rows: int = 0
    lost: int = 0
    twice: int = 0
    different: int = 0
    examples: tuple[str, ...] = ()

    def __add__(self, other: Tally) -> Tally:
        return Tally(*map(add, astuple(self), astuple(other)))

    @property
    def is_clean(self) -> bool:
        """Whether nothing differs."""
        return not (self.lost or self.twice or self.different)


def compared(expected: Rows, found: Rows) -> Tally:
    """The tally of an output.

    >>> compared([(1, "a"), (2, "b"), (3, "c")], [(1, "a"), (3, "x"), (3, "c")])
    Tally(rows=3, lost=1, twice=1, different=1, examples=('2 is lost', '3 is twice', '3 differs'))
    """
    wanted, there = list(expected), list(found)
    counts, there_counts = (Counter(key for key, _ in rows) for rows in (wanted, there))
    lost, twice = counts - there_counts, there_counts - counts
    values = dict(wanted)
    different = [(key, value) for key, value in there if key in values and values[key] != value]
    examples = [f"{key} is lost" for key in lost] + [f"{key} is twice" for key in twice]
    examples += [f"{key} differs{_difference(values[key], value)}" for key, value in different]
    return Tally(len(wanted), lost.total(), twice.total(), len(different), tuple(examples[:_EXAMPLES]))


def _difference(expected: Any, found: Any) -> str:
    """What of two mappings differs."""
    if not isinstance(expected, dict) or not isinstance(found, dict):
        return ""
    names = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    return ": " + ", ".join(f"{name} {expected.get(name)!r:.60} now {found.get(name)!r:.60}" for name in names[:4])


def json_lines(path: Path) -> list[Any]:
    """The file's rows.

    Raises:
        ValueError: a half line.
    """
    text = path.read_text(encoding="utf-8")
    if text and not text.endswith("\n"):
        raise ValueError(f"{path} ends in half a line")
    return [json.loads(line) for line in text.splitlines()]
