"""Tables in files: JSON lines, CSV and Parquet, read row by row and written back with columns added.

Rows come out as they went in, all of them: no type is guessed from text (a CSV's ``007`` stays text), no missing key
is filled in, and a line that is not a row (broken JSON, too many cells) is a `Row` with a fault, not an exception.
A file whose rows cannot be told apart is refused. Memory holds a few rows, never the file.

| suffix | format |
|---|---|
| ``.jsonl`` | JSON lines: one object per line, UTF-8 |
| ``.csv`` | comma separated with a header line, UTF-8; every cell is text |
| ``.parquet`` | Parquet; Arrow types are kept |

A table is written in its own format or as JSON lines. In CSV, an added list is JSON and null is an empty cell. From
Parquet to JSON lines, dates, times and durations become exact ISO 8601 text (with a time zone in UTC), decimals text,
and bytes base64.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import repeat
from pathlib import Path

from guard_reward.errors import UserError, first_paragraph
from guard_reward.moderation.tables.base import Additions, Field, Kind, Row, Table
from guard_reward.moderation.tables.csv_file import CsvTable, write_csv
from guard_reward.moderation.tables.jsonl import JsonLinesTable, write_jsonl
from guard_reward.moderation.tables.parquet import ParquetTable, write_parquet

__all__ = ["Additions", "Field", "Kind", "Row", "Table", "TableWriter", "open_table", "rehearse", "table_writer"]

TableWriter = Callable[[Path, Table, list[Field], Additions], None]
"""``write(path, table, fields, additions)``: the table's rows, with the fields behind them."""

_READERS: dict[str, Callable[[Path], Table]] = {
    ".jsonl": JsonLinesTable,
    ".csv": CsvTable,
    ".parquet": ParquetTable,
}
_WRITERS: dict[str, TableWriter] = {
    ".jsonl": write_jsonl,
    ".csv": write_csv,
    ".parquet": write_parquet,
}


def open_table(path: Path) -> Table:
    """Read a file's columns and count its rows.

    Raises:
        UserError: a missing file, an unknown suffix, or content that does not match the suffix.
    """
    reader = _READERS[_known_suffix(path)]
    if not path.is_file():
        raise UserError(f"input file '{path}' does not exist" + (": it is a folder" if path.is_dir() else ""))
    return reader(path)


def table_writer(source: Path, target: Path) -> TableWriter:
    """The function that writes `source`'s rows in `target`'s format.

    Raises:
        UserError: `target` is neither in the format of `source` nor ``.jsonl``.
    """
    own, suffix = _known_suffix(source), _known_suffix(target)
    if suffix not in (own, ".jsonl"):
        other = "" if own == ".jsonl" else f" or {own}"
        raise UserError(f"'{target}': {own} input is written as .jsonl{other}; convert the output afterwards")
    return _WRITERS[suffix]


def rehearse(write: TableWriter, table: Table, fields: list[Field]) -> None:
    """Write the whole table to nowhere, with null in the added fields: what cannot be written is known beforehand.

    Raises:
        UserError: a row cannot be read or written.
    """
    try:
        write(Path(os.devnull), table, fields, repeat([None] * len(fields), table.row_count))
    except Exception as error:  # a broken file can make pyarrow raise anything
        raise UserError(f"'{table.path}' cannot be read and written again: {first_paragraph(error)}") from error


def _known_suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in _READERS:
        raise UserError(f"'{path}': unknown suffix {suffix!r}; use one of {', '.join(_READERS)}")
    return suffix
