"""CSV with a header line. Every cell is text; no type is guessed."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from guard_reward.errors import UserError
from guard_reward.moderation.tables.base import Additions, Field, Row, Table, check_unique
from guard_reward.moderation.tables.jsonl import to_json

__all__ = ["CsvTable", "write_csv"]

_LONGEST_CELL = 2**31 - 1  # characters; the module's own limit of 131,072 is less than a long conversation


class CsvTable:
    """Comma separated, quoted with ``"``, UTF-8; a row with more or fewer cells than the header is faulty.

    A blank line is no row, but in a file with one column it is a row with an empty cell: many programs write it so.

    A file with a quote that is never closed, or closed in the middle of a cell, is refused: nobody knows where its
    rows begin.
    """

    def __init__(self, path: Path):
        self.path = path
        try:
            lines = self._lines()
            self.columns = next(lines, [])
            if not self.columns:
                raise UserError(f"'{path}' is empty: a CSV file needs a header line that names its columns")
            check_unique(path, self.columns)
            self.row_count = self.fault_count = 0
            for cells in lines:
                self.row_count += 1
                self.fault_count += len(cells) != len(self.columns)
        except UnicodeDecodeError as error:
            raise UserError(f"'{path}' is not UTF-8 ({error}): save it as UTF-8") from error
        except csv.Error as error:
            raise UserError(f"'{path}' is not CSV ({error}): is a quote not closed or not doubled?") from error

    def rows(self) -> Iterator[Row]:
        """All rows, in the file's order."""
        lines = self._lines()
        next(lines)
        for number, cells in enumerate(lines, start=1):
            if len(cells) == len(self.columns):
                yield Row(dict(zip(self.columns, cells, strict=True)))
            else:
                fault = f"row {number} has {len(cells)} cells, the header {len(self.columns)}: is a comma not quoted?"
                yield Row({}, fault, _raw(cells))

    def _lines(self) -> Iterator[list[str]]:
        """The file's lines as lists of cells, header first; a blank line only where it is a row."""
        csv.field_size_limit(_LONGEST_CELL)
        with self.path.open(encoding="utf-8-sig", newline="") as file:
            reader, start, width = csv.reader(file, strict=True), 1, 0
            try:
                for cells in reader:
                    start = reader.line_num + 1
                    width = width or len(cells)  # the header's
                    if cells or width == 1:
                        yield cells or [""]
            except csv.Error as error:
                raise csv.Error(f"{error}, in the row that begins in line {start}") from error


def _raw(cells: list[str]) -> str:
    text = io.StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue().removesuffix("\r\n")


def write_csv(path: Path, table: Table, fields: list[Field], additions: Additions) -> None:
    """Write the table's columns and the fields: text unchanged, null as an empty cell, anything else as JSON."""
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*table.columns, *(field.name for field in fields)])
        for row, added in zip(table.rows(), additions, strict=True):
            writer.writerow([_cell(value) for value in (*map(row.values.get, table.columns), *added)])


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else to_json(value)
