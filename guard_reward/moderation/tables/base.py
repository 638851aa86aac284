"""What all table formats have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from guard_reward.errors import UserError

__all__ = ["Additions", "Field", "Kind", "Row", "Table", "check_unique"]


class Row(NamedTuple):
    """One row of a table.

    Attributes:
        values: by column, without the keys that a JSON object does not have.
        fault: why the row could not be read; empty for a good row.
        raw: the row's text in the file, for every row of JSON lines and for faulty rows of CSV; else empty.
    """

    values: Mapping[str, Any]
    fault: str = ""
    raw: str = ""


class Table(Protocol):
    """A file of rows that can be read any number of times.

    Attributes:
        columns: in order of first appearance.
        row_count: good and faulty rows together.
        fault_count: faulty rows.
    """

    path: Path
    columns: list[str]
    row_count: int
    fault_count: int

    def rows(self) -> Iterator[Row]:
        """All rows, in the file's order."""
        ...


class Kind(Enum):
    """The type of an added column; every kind may be null."""

    TEXT = "text"
    NUMBER = "number"
    FLAG = "flag"
    TEXTS = "list of text"


class Field(NamedTuple):
    """A column to add."""

    name: str
    kind: Kind


Additions = Iterable[Sequence[Any]]
"""The added columns' values, row by row, in the order of the fields."""


def check_unique(path: Path, columns: list[str]) -> None:
    """Refuse two columns with the same name."""
    repeated = [name for name, count in Counter(columns).items() if count > 1]
    if repeated:
        raise UserError(f"'{path}' has more than one column {repeated[0]!r}: rename all but one")
