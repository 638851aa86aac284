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
from guard_reward.moderation.tables.base import Additions, Field, Row, Table

__all__ = ["JsonLinesTable", "to_json", "write_jsonl"]

# Python reads a few hundred levels, depending on how deep the caller's own stack is. A fixed limit that is well below
# gives each row the same fate whoever reads it.
_DEEPEST = 200

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
        value = json.loads(line.decode())
        fault = "" if isinstance(value, dict) else f"it is {type(value).__name__}"
    except (ValueError, RecursionError) as error:  # JSONDecodeError and UnicodeDecodeError are ValueErrors
        value, fault = {}, str(error)
    if fault:
        return Row({}, f"line {number} is not a JSON object: {fault}", text)
    if line.count(b"[") + line.count(b"{") > _DEEPEST and _is_too_deep(value):
        return Row({}, f"line {number} has more than {_DEEPEST} levels of lists and objects", text)
    return Row(value, raw=text)


def _is_too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(_DEEPEST):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


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
