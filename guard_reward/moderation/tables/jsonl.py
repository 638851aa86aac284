"""JSON lines.

Python's json keeps what readers with a schema would change: keys that only some rows have, large integers, columns of
mixed type.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from guard_reward.errors import UserError
from guard_reward.moderation.tables.base import Additions, Field, Row, Table

__all__ = ["JsonLinesTable", "to_json", "write_jsonl"]


class JsonLinesTable:
    """One JSON object per line; blank lines are not rows."""

    def __init__(self, path: Path):
        self.path = path
        self.row_count = self.fault_count = 0
        columns: dict[str, None] = {}
        for row in self.rows():
            self.row_count += 1
            self.fault_count += bool(row.fault)
            columns.update(dict.fromkeys(row.values))
        self.columns = list(columns)
        first = next(self.rows(), Row({}))
        if first.raw.lstrip().startswith("["):
            raise UserError(f"'{path}' holds a JSON array, not JSON lines: convert it with `jq -c '.[]'`")
        if self.fault_count == self.row_count > 0:
            raise UserError(f"'{path}' holds no JSON lines: {first.fault}")

    def rows(self) -> Iterator[Row]:
        """All rows, in the file's order."""
        with self.path.open("rb") as file:  # in bytes: text mode would also split at a carriage return
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield _parse(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line, number)


def _parse(line: bytes, number: int) -> Row:
    try:
        value = json.loads(line.decode())
        fault = "" if isinstance(value, dict) else f"line {number} is not a JSON object: it is {type(value).__name__}"
    except (ValueError, RecursionError) as error:  # JSONDecodeError and UnicodeDecodeError are ValueErrors
        fault = f"line {number} is not a JSON object: {error}"
    return Row({}, fault, line.decode(errors="backslashreplace").rstrip("\r\n")) if fault else Row(value)


def to_json(value: Any) -> str:
    """JSON text, not escaped to ASCII; values without a JSON type (from Parquet) become text."""
    return json.dumps(value, ensure_ascii=False, default=_as_text)


def _as_text(value: Any) -> str:
    """Times in ISO 8601, bytes in base64, everything else as ``str``."""
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return str(value)


def write_jsonl(path: Path, table: Table, fields: list[Field], additions: Additions) -> None:
    """Write the table's rows with the fields behind each row's own keys."""
    names = [field.name for field in fields]
    # backslashreplace: half a surrogate pair has no UTF-8, but its \uXXXX escape is JSON for the same value.
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
        for row, added in zip(table.rows(), additions, strict=True):
            file.write(to_json({**row.values, **dict(zip(names, added, strict=True))}) + "\n")
