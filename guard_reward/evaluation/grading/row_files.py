"""Rows of any file that a public set comes in, each with the place that errors name.

| suffix | format |
|---|---|
| ``.jsonl`` | one JSON object per line |
| ``.json`` | a list of objects; or an object of such lists, as HarmBench's labelled responses |
| ``.csv`` | comma separated with a header line |
| ``.parquet`` | Parquet |

``.jsonl``, ``.json`` and ``.csv`` may be compressed (``.gz``, ``.xz``). Text is UTF-8.
"""

from __future__ import annotations

import csv
import gzip
import json
import lzma
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from guard_reward.errors import UserError, first_paragraph, one_line

__all__ = ["file_rows"]

_LONGEST_CELL = 2**31 - 1
_OPENERS: dict[str, Callable[..., IO[Any]]] = {".gz": gzip.open, ".xz": lzma.open}
PlacedRow = tuple[str, dict[str, Any]]


def file_rows(path: Path) -> Iterator[PlacedRow]:
    """The file's rows, in order.

    Raises:
        UserError: an unknown suffix, or content that does not match it; names the line.
        OSError: the file cannot be read.
    """
    name = path.name.lower()
    packed = next((suffix for suffix in _OPENERS if name.endswith(suffix)), "")
    suffix = Path(name.removesuffix(packed)).suffix
    if suffix == ".parquet" and not packed:
        yield from _parquet(path)
        return
    readers = {".jsonl": _json_lines, ".json": _json, ".csv": _csv}
    if suffix not in readers:
        raise UserError(f"'{path}': unknown suffix; use one of {', '.join(readers)}, .parquet")
    with _OPENERS.get(packed, open)(path, "rt", encoding="utf-8-sig", newline="") as file:
        try:
            yield from readers[suffix](file, path)
        except (UnicodeDecodeError, EOFError, gzip.BadGzipFile, lzma.LZMAError) as error:
            raise UserError(f"'{path}' cannot be read: {one_line(error)}") from error


def _json_lines(file: IO[str], path: Path) -> Iterator[PlacedRow]:
    for number, line in enumerate(file, 1):
        if line.strip():
            place = f"{path}: line {number}"
            yield place, _object(_parsed(line, place), place)


def _json(file: IO[str], path: Path) -> Iterator[PlacedRow]:
    value = _parsed(file.read(), str(path))
    if isinstance(value, dict) and value and all(isinstance(rows, list) for rows in value.values()):
        value = [row for rows in value.values() for row in rows]
    if not isinstance(value, list):
        raise UserError(f"{path} is not a list of objects; if it has one object per line, rename it to .jsonl")
    for number, row in enumerate(value, 1):
        place = f"{path}: row {number}"
        yield place, _object(row, place)


def _csv(file: IO[str], path: Path) -> Iterator[PlacedRow]:
    csv.field_size_limit(_LONGEST_CELL)
    reader = csv.DictReader(file, strict=True)
    try:
        for row in reader:
            place = f"{path}: line {reader.line_num}"
            if None in row or None in row.values():
                raise UserError(f"{place} has more or fewer cells than the header: is a comma not quoted?")
            yield place, row
    except csv.Error as error:
        raise UserError(f"{path}: line {reader.line_num} is not CSV: {error}") from error


def _parquet(path: Path) -> Iterator[PlacedRow]:
    import pyarrow.parquet as pq

    number = 0
    with path.open("rb") as source:
        try:
            for batch in pq.ParquetFile(source).iter_batches():
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path}: row {number}", row
        except Exception as error:  # a broken file can make pyarrow raise anything
            raise UserError(f"'{path}' is not Parquet that can be read: {first_paragraph(error)}") from error


def _parsed(text: str, place: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{place} is not JSON: {one_line(error)}") from error


def _object(value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UserError(f"{place} is not an object with fields such as prompt and prompt_harm")
    return value
