"""Helpers of the moderation tests: files of rows, and one call per test."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from guard_reward.errors import UserError
from guard_reward.moderation.moderate import moderate_file
from tests.scripted_guard import ScriptedGuard

ROWS = [
    {"id": 1, "prompt": "How do I bake?", "response": "With flour.", "refusal": "partial"},
    {"id": 2, "prompt": "A bomb?", "response": "I am sorry, no bomb.", "refusal": True},
    {"id": 3, "prompt": "火?", "response": 'quoted "text",\r\nand a second line', "refusal": False},
    {"id": 4, "prompt": "Speak!", "response": "mumble", "refusal": None},
    {"id": 5, "prompt": "Say nothing.", "response": "…", "refusal": None},
]


def write_jsonl(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def moderate(source: Path, target: Path, **options: Any) -> Any:
    return moderate_file(source, target, guard=options.pop("guard", None) or ScriptedGuard(), **options)


def judge_one(tmp_path: Path, row: Any, **options: Any) -> dict[str, Any]:
    """The result for one row, behind a good one."""
    good = {"prompt": "Hello?", "response": "Hello.", "messages": [{"role": "user", "content": "Hello?"}]}
    source = write_jsonl(tmp_path / "in.jsonl", [good, row])
    moderate(source, tmp_path / "out.jsonl", overwrite=True, **options)
    return read_jsonl(tmp_path / "out.jsonl")[1]


GOOD = [{"role": "user", "content": "A bomb?"}, {"role": "assistant", "content": "I am sorry."}]


def read_any(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".csv":
        with path.open(newline="") as file:
            return list(csv.DictReader(file))
    return pq.read_table(path).to_pylist() if path.suffix == ".parquet" else read_jsonl(path)


def plain(value: Any) -> Any:
    """A value that has been through CSV: JSON, or nothing for null."""
    return value if not isinstance(value, str) else json.loads(value) if value else None


def write_any(path: Path, rows: list[dict[str, str]]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    else:
        write_jsonl(path, rows)
    return path


def content_of(folder: Path) -> dict[str, bytes | str]:
    """All that is in a folder: a file's bytes, or where a link leads to."""
    return {
        path.name: f"-> {path.readlink()}" if path.is_symlink() else path.read_bytes()
        for path in folder.iterdir()
        if path.is_symlink() or path.is_file()
    }


def refused(source: Path, target: Path, message: str, **options: Any) -> None:
    """The file is refused twice, in one sentence; no guard is asked, and nothing in the folder changes."""
    before = content_of(target.parent)
    for _ in range(2):
        guard = ScriptedGuard()
        with pytest.raises(UserError, match=message):
            moderate(source, target, guard=guard, **options)
        assert guard.asked == []
        assert content_of(target.parent) == before


def refused_unloaded(source: Path, target: Path, message: str) -> None:
    """Refused even before a guard is loaded."""

    def load() -> Any:
        raise AssertionError("the guard was loaded")

    with pytest.raises(UserError, match=message):
        moderate_file(source, target, guard=load)
    refused(source, target, message)


def judged(source: Path, target: Path, **options: Any) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows of the output and what the guard was asked about; the second try writes the same bytes."""
    before = content_of(target.parent)
    guard = ScriptedGuard()
    moderate(source, target, guard=guard, **options)
    first = target.read_bytes()
    moderate(source, target, overwrite=True, **options)
    assert target.read_bytes() == first
    assert content_of(target.parent) == before | {target.name: first}
    return read_any(target), guard.asked_about
