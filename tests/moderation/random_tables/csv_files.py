"""Random CSV, written by hand with every way to quote and to end a line, and its check."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path

from tests.moderation.random_tables.texts import corrupted, text

_COLUMNS = ["id", "", "a.b", "response", "é", "with, comma", 'with "quote"', "two\nlines", "null", "guard_"]
_SYNTAX = str.maketrans("", "", '",\r\n\ufeff')


def write(rng: random.Random, path: Path) -> list[list[str]] | None:
    """A file with a header; its cells, or None if an accident has happened to it."""
    columns = [*rng.sample(_COLUMNS, rng.randrange(4)), *(["prompt"] if rng.random() < 0.95 else [])] or ["prompt"]
    if rng.random() < 0.03:
        columns.append(columns[0])
    rng.shuffle(columns)
    rows = [columns, *([text(rng) for _ in columns] for _ in range(rng.randrange(12)))]
    ending = rng.choice(["\n", "\r\n", "\r"])
    lines = [",".join(_quoted(rng, cell) for cell in row) for row in rows]
    if rng.random() < 0.2:
        place = rng.randrange(1, len(lines) + 1)
        lines.insert(place, "")
        if len(columns) == 1:
            rows.insert(place, [""])
    is_ended = rng.random() < 0.8 or not lines[-1]  # without its ending, a blank last line is not there
    data = ending.join([*lines, *([""] if is_ended else [])]).encode()
    if rng.random() < 0.2:
        data = b"\xef\xbb\xbf" + data
    if rng.random() < 0.5:
        path.write_bytes(_with_accident(rng, data, lines, ending))
        return None
    path.write_bytes(data)
    return rows


def _quoted(rng: random.Random, cell: str) -> str:
    needed = any(mark in cell for mark in ',\r\n"') or cell.startswith("\ufeff")
    return f'"{cell.replace(chr(34), chr(34) * 2)}"' if needed or rng.random() < 0.2 else cell


def _with_accident(rng: random.Random, data: bytes, lines: list[str], ending: str) -> bytes:
    """A quote, comma or cell too many or too few, broken bytes, or another encoding."""
    kind = rng.randrange(4)
    if rng.random() < 0.02:
        return b""
    if kind == 0:
        place = rng.randrange(len(lines))
        lines[place] += rng.choice([",", ",x", '"', ',"x'])
        return ending.join(lines).encode()
    if kind == 1 and b'"' in data:
        place = rng.choice([index for index, byte in enumerate(data) if byte == ord('"')])
        return data[:place] + data[place + 1 :]
    if kind == 2:
        return data.decode().encode(rng.choice(["utf-16", "utf-16-le", "utf-32"]))
    return corrupted(rng, data)


def check(source: Path, target: Path, rows: list[list[str]] | None) -> int:
    """The cells are those of the input, in order; after an accident, all lines and all text are there and in order."""
    lines = _read(source)  # fails if a quote is not closed: nobody knows how many rows there are
    results = _read(target)
    assert len(results) == len(lines)
    if len(results) == 1 and target.suffix == ".jsonl":
        return 0  # no rows: JSON lines have no header
    if rows is not None:
        assert [row[: len(rows[0])] for row in results] == rows
        return len(results) - 1
    width = results[0].index("guard_outcome")
    raw = results[0].index("guard_raw") if "guard_raw" in results[0] else None
    kept = ["".join(row[:width]) + (row[raw] if raw is not None else "") for row in results[1:]]
    text_out = "".join(results[0][:width] + kept)
    if width:  # if every row is faulty, JSON lines name no column
        assert text_out.translate(_SYNTAX) == source.read_bytes().decode().translate(_SYNTAX)
    return len(kept)


def _read(path: Path) -> list[list[str]]:
    """Rows of cells, header first; JSON lines in the same form."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        if path.suffix == ".csv":
            return _with_blank_rows(list(csv.reader(file, strict=True)))
        rows = [json.loads(line) for line in file.read().split("\n")[:-1]]
    columns = max(rows, key=len, default={})  # a faulty row has none of the input's columns
    return [list(columns), *([row.get(column) or "" for column in columns] for row in rows)]


def _with_blank_rows(lines: list[list[str]]) -> list[list[str]]:
    """The lines of a file without those that are no rows: all blank ones, but with one column only those on top."""
    while lines and not lines[0]:
        del lines[0]
    is_one_column = bool(lines) and len(lines[0]) == 1
    return [cells or [""] for cells in lines if cells or is_one_column]
