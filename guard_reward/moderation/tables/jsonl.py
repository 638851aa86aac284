"""JSON lines.

Rows are copied as text, with the added fields behind their own. So nothing of a row can change: not a number with more
digits than a float has, not a key that occurs twice, not an escape.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from guard_reward.errors import UserError
from guard_reward.moderation.json_text import JsonLimitError, parse_json
from guard_reward.moderation.tables.base import Additions, Field, Row, Table

__all__ = ["JsonLinesTable", "to_json", "write_jsonl"]

_BOM = b"\xef\xbb\xbf"


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
                text = line.removeprefix(_BOM) if number == 1 else line
                if text.strip():
                    yield _parse(text, number)


def _parse(line: bytes, number: int) -> Row:
    text = line.decode(errors="backslashreplace").strip(" \t\r\n")
    try:
        value = parse_json(line.decode())
    except UnicodeDecodeError as error:
        fault = f"is not UTF-8 ({error}): save the file as UTF-8"
    except JsonLimitError as error:
        fault = str(error)
    except ValueError as error:
        nulls = "it has null bytes; if the file is UTF-16, save it as UTF-8"
        fault = f"is not a JSON object: {nulls if bytes(1) in line else error}"
    else:
        if isinstance(value, dict):
            return Row(value, raw=text)
        fault = f"is not a JSON object: it is {type(value).__name__}"
    return Row({}, f"line {number} {fault}", text)


def to_json(value: Any) -> str:
    """JSON text, not escaped to ASCII; values without a JSON type (from Parquet) become text."""
    return json.dumps(value, ensure_ascii=False, default=_as_text)


def _as_text(value: Any) -> str:
    """Bytes in base64, everything else as ``str``."""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def write_jsonl(path: Path, table: Table, fields: list[Field], additions: Additions) -> None:
    """Write the table's rows with the fields behind each row's own keys."""
    names = [field.name for field in fields]
    # backslashreplace: half a surrogate pair has no UTF-8, but its \uXXXX escape is JSON for the same value.
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
        for row, added in zip(table.rows(), additions, strict=True):
            file.write(_line(row, dict(zip(names, added, strict=True))) + "\n")


def _line(row: Row, added: dict[str, Any]) -> str:
    """A row as JSON with more keys at its end; JSON text stays as it is."""
    if not row.values:
        return to_json(added)
    own = to_json(dict(row.values)) if not row.raw else row.raw
    return f"{own.removesuffix('}')}, {to_json(added).removeprefix('{')}"
