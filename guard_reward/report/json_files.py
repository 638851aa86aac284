"""JSON in the folder of a run: it may be broken, cut off, huge or hostile. What cannot be read becomes a note."""

from __future__ import annotations

import json
import math
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from guard_reward.errors import first_paragraph, one_line

__all__ = ["MAX_FILE_BYTES", "MAX_LINE_BYTES", "cleaned", "is_regular", "read_lines", "read_object", "well_formed"]

MAX_LINE_BYTES = 16 * 2**20
MAX_FILE_BYTES = 256 * 2**20
_MAX_DEPTH = 16
_MAX_INTEGER = 2**63


def is_regular(path: Path) -> bool:
    """Whether there is a plain file: no folder, no pipe that would never end, no loop of links."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def read_object(path: Path, notes: list[str]) -> dict[str, Any]:
    """The object in a JSON file; empty if there is no file. What cannot be read is noted."""
    if not is_regular(path):
        return {}
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ValueError(f"it is larger than {MAX_FILE_BYTES // 2**20} MB")
        found = _parsed(path.read_bytes())
        if not isinstance(found, dict):
            raise ValueError("it holds no JSON object")
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        notes.append(f"{one_line(path.name)} could not be read: {first_paragraph(error)}.")
        return {}
    return found


def read_lines(path: Path, notes: list[str]) -> Iterator[dict[str, Any]]:
    """The objects of a file of JSON lines, none if there is no file.

    A last line without a line break that is no JSON is still being written, and left out silently. Other lines that
    cannot be read are counted in one note.
    """
    if not is_regular(path):
        return
    broken: list[int] = []
    try:
        with path.open("rb") as file:
            for number, line in enumerate(_lines(file), 1):
                found = _object_of(line)
                if found is not None:
                    yield found
                elif line is None or (line.endswith(b"\n") and line.strip()):
                    broken.append(number)
    except OSError as error:
        notes.append(f"{one_line(path.name)} could not be read to its end: {first_paragraph(error)}.")
    if broken:
        lines = f"line {broken[0]}" if len(broken) == 1 else f"{len(broken)} lines (the first is line {broken[0]})"
        notes.append(f"{one_line(path.name)}: {lines} could not be read.")


def cleaned(value: Any, depth: int = 0) -> Any:
    """A JSON value that can be shown and written again.

    NaN, infinities and numbers beyond 64 bits become None, half surrogate pairs U+FFFD, and what lies deeper than 16
    levels None.

    >>> cleaned({"a": [float("nan"), 1], "b": chr(0xD800)})
    {'a': [None, 1], 'b': '�'}
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return well_formed(value)
    if isinstance(value, int):
        return value if abs(value) < _MAX_INTEGER else None
    if depth >= _MAX_DEPTH:
        return None
    if isinstance(value, dict):
        is_finite = math.isfinite  # logs have millions of numbers
        return {
            key if key.isascii() else well_formed(key): found
            if type(found) is float and is_finite(found)
            else cleaned(found, depth + 1)
            for key, found in value.items()
        }
    if isinstance(value, list):
        return [cleaned(found, depth + 1) for found in value]
    return value


def well_formed(text: str) -> str:
    """The text; each half of a surrogate pair, which no file can hold, becomes U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _parsed(data: bytes) -> Any:
    return cleaned(json.loads(data.decode("utf-8", "replace").removeprefix("\ufeff")))


def _object_of(line: bytes | None) -> dict[str, Any] | None:
    if line is None:
        return None
    try:
        found = _parsed(line)
    except (ValueError, RecursionError, MemoryError):
        return None
    return found if isinstance(found, dict) else None


def _lines(file: Any) -> Iterator[bytes | None]:
    """The lines; None for one that is longer than `MAX_LINE_BYTES`, which is never whole in memory."""
    while line := file.readline(MAX_LINE_BYTES):
        if len(line) < MAX_LINE_BYTES or line.endswith(b"\n"):
            yield line
            continue
        while (rest := file.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
            pass
        yield None
