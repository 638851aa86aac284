"""Tables in files: JSON lines, CSV and Parquet, read row by row and written back with columns added.

Rows come out as they went in, all of them: no type is guessed from text (a CSV's ``007`` stays text), no missing key
is filled in, and a line that is no row (broken JSON, too many cells) is a `Row` with a fault, not an exception. Memory
holds a few rows, never the file.

| suffix | format |
|---|---|
| ``.jsonl`` ``.ndjson`` ``.json`` | JSON lines: one object a line, UTF-8 |
| ``.csv`` | comma separated with a header line, UTF-8; every cell is text |
| ``.parquet`` | Parquet; Arrow types are kept |

Between formats: CSV has text as it is, null as nothing and anything else as JSON; Parquet has a column whose values fit
no single Arrow type as JSON text.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from guard_reward.errors import UserError
from guard_reward.moderation.tables.base import Additions, Field, Kind, Row, Table
from guard_reward.moderation.tables.csv_file import CsvTable, write_csv
from guard_reward.moderation.tables.jsonl import JsonLinesTable, write_jsonl
from guard_reward.moderation.tables.parquet import ParquetTable, write_parquet

__all__ = ["Additions", "Field", "Kind", "Row", "Table", "open_table", "table_writer"]

_READERS: dict[str, Callable[[Path], Table]] = {
    ".jsonl": JsonLinesTable,
    ".ndjson": JsonLinesTable,
    ".json": JsonLinesTable,
    ".csv": CsvTable,
    ".parquet": ParquetTable,
}
_WRITERS = {
    ".jsonl": write_jsonl,
    ".ndjson": write_jsonl,
    ".json": write_jsonl,
    ".csv": write_csv,
    ".parquet": write_parquet,
}


def open_table(path: Path) -> Table:
    """Read a file's columns and count its rows.

    Raises:
        UserError: a missing file, an unknown suffix, a file that is not what its suffix says.
    """
    reader = _READERS[_known_suffix(path)]
    if not path.is_file():
        raise UserError(f"input file '{path}' does not exist" + (": it is a folder" if path.is_dir() else ""))
    return reader(path)


def table_writer(path: Path) -> Callable[[Path, Table, list[Field], Additions], None]:
    """The function that writes the format of `path`'s suffix: ``write(where, table, fields, additions)``."""
    return _WRITERS[_known_suffix(path)]


def _known_suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in _READERS:
        raise UserError(f"'{path}': the suffix {suffix!r} says no format; use one of {', '.join(_READERS)}")
    return suffix
