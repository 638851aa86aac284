"""Honest texts: how many have another form or say nothing, and what it costs to find out.

    python benchmarks/views.py prompts.jsonl responses.jsonl --show 20        # JSON lines: these columns of every row
    python benchmarks/views.py README.md docs/*.md --json runs/views.json      # any other file is one text

A view of an honest text costs one more guard call; a degenerate one costs it its reward. The time is that of one text
on one core (CPU time), without the guard.
"""

from __future__ import annotations

import argparse
import difflib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from guard_reward.text.degenerate import degenerate
from guard_reward.text.views import views

COLUMNS = ("prompt", "response", "completion", "text")
SHOWN = 60  # characters of a difference


def read_texts(path: Path, columns: Sequence[str]) -> Iterator[str]:
    """The texts of a file: strings in these columns of JSON lines, or the whole file."""
    if path.suffix != ".jsonl":
        yield path.read_text(encoding="utf-8", errors="replace")
        return
    with path.open(encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            yield from (row[column] for column in columns if isinstance(row.get(column), str) and row[column])


def timed(function: Callable[[str], Any], texts: Sequence[str]) -> tuple[list[Any], float]:
    """What a function says of each text, and the microseconds per text."""
    function("Tables and libraries are read once, also those for letters that are not ASCII: ä, е, 1.")
    started = time.process_time()
    found = [function(text) for text in texts]
    return found, (time.process_time() - started) / max(len(texts), 1) * 1e6


def differences(text: str, view: str) -> str:
    """What a view reads otherwise, the first few places."""
    lines = zip(text.splitlines(), view.splitlines(), strict=False)
    line, other = next(((one, two) for one, two in lines if one != two), (text[:500], view[:500]))
    matcher = difflib.SequenceMatcher(None, line[:500], other[:500], autojunk=False)
    edits = (code for code in matcher.get_opcodes() if code[0] != "equal")
    return "; ".join(f"{line[a:b][:SHOWN]!r} → {other[c:d][:SHOWN]!r}" for _, a, b, c, d in list(edits)[:3])


def measure(path: Path, columns: Sequence[str]) -> dict[str, Any]:
    """The numbers of one file, each different text once."""
    texts = sorted(set(read_texts(path, columns)))
    forms, views_time = timed(views, texts)
    reasons, degenerate_time = timed(degenerate, texts)
    return {
        "file": path.name,
        "texts": len(texts),
        "characters": sum(map(len, texts)),
        "with_views": sum(map(bool, forms)),
        "degenerate": sum(reason is not None for reason in reasons),
        "views_microseconds": views_time,
        "degenerate_microseconds": degenerate_time,
        "views": [differences(text, found[-1]) for text, found in zip(texts, forms, strict=True) if found],
        "reasons": [[reason, text[:SHOWN]] for text, reason in zip(texts, reasons, strict=True) if reason is not None],
    }


def total(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """All files as one row."""
    texts = sum(row["texts"] for row in rows)
    sums = {name: sum(row[name] for row in rows) for name in ("texts", "characters", "with_views", "degenerate")}
    times = {
        name: sum(row[name] * row["texts"] for row in rows) / max(texts, 1)
        for name in ("views_microseconds", "degenerate_microseconds")
    }
    return {"file": "all", **sums, **times}


def show(rows: Sequence[dict[str, Any]], console: Console, shown: int) -> None:
    """The table, and what was found."""
    table = Table("file", "texts", "with views", "degenerate", "views, µs/text", "degenerate, µs/text")
    for row in [*rows, total(rows)]:
        shares = (f"{row[name]} ({row[name] / max(row['texts'], 1):.2%})" for name in ("with_views", "degenerate"))
        times = (f"{row[name]:.0f}" for name in ("views_microseconds", "degenerate_microseconds"))
        table.add_row(row["file"], str(row["texts"]), *shares, *times)
    console.print(table)
    for row in rows:
        for line in row["views"][:shown]:
            console.print(f"{row['file']}: {line}", markup=False, highlight=False)
        for reason, beginning in row["reasons"][:shown]:
            console.print(f"{row['file']}: {reason}: {beginning!r}", markup=False, highlight=False)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, help="JSON lines (.jsonl), or texts")
    parser.add_argument("--columns", nargs="+", default=COLUMNS, help="columns of JSON lines that are texts")
    parser.add_argument("--show", type=int, default=5, metavar="N", help="findings per file to show")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the numbers here")
    options = parser.parse_args(arguments)
    rows = [measure(path, options.columns) for path in options.files]
    show(rows, Console(width=160), options.show)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps([*rows, total(rows)], indent=2, ensure_ascii=False), encoding="utf-8")


if __name__ == "__main__":
    main()
