"""Random tables: every row comes out, in order and unchanged, or the file is refused before anything is judged.

By default a few hundred tables (seconds); GUARD_REWARD_RANDOM_TABLES=5000 makes 5,000 (half a minute). Table n is
always the same, so a failure can be repeated.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from guard_reward import Unjudged, Verdict
from guard_reward.errors import UserError, one_line
from guard_reward.moderation.moderate import moderate_file
from guard_reward.verdict import Outcome, Severity
from tests.moderation.random_tables import csv_files, json_lines, parquet_files
from tests.moderation.random_tables.texts import HALVES

TABLES = int(os.environ.get("GUARD_REWARD_RANDOM_TABLES", "360"))
# (input, output); each a third of the tables, with the formats' own numbers.
FORMATS = [(".jsonl", ".jsonl"), (".csv", ".csv"), (".parquet", ".parquet"), (".csv", ".jsonl"), (".parquet", ".jsonl")]
BLOCK = 40

# How a refusal begins: first what may be wrong with a file that is read without trouble, then with a broken one.
REASONS = (
    "there is no prompt column",
    "the input has a column 'guard_reason' already: choose another --prefix",
    "FILE has more than one column",
    "FILE holds no JSON lines: line ",
    "FILE holds a JSON array, not JSON lines",
)
REASONS_AFTER_AN_ACCIDENT = (
    "FILE is empty: a CSV file needs a header line",
    "FILE is not UTF-8 (",
    "FILE is not CSV (",
    "FILE is not Parquet that can be read: ",
    "FILE cannot be read and written again: ",
)


class Interrupted(Exception):
    pass


class CountingGuard:
    """Counts what it is asked, answers with odd texts, and gives up after some calls."""

    name = "counting"

    def __init__(self, calls: int = 10**9):
        self.calls = calls
        self.asked: list[Any] = []

    def moderate(self, conversations: Sequence[Any]) -> list[Verdict | Unjudged]:
        if not self.calls:
            raise Interrupted
        self.calls -= 1
        self.asked += conversations
        return [self._judge(len(str(conversation))) for conversation in conversations]

    def _judge(self, length: int) -> Verdict | Unjudged:
        odd = f'{HALVES[length % 3]}",\r\n\x00'
        if length % 4 == 0:
            return Unjudged(Outcome.NO_VERDICT, text=odd, reason=odd)
        return Verdict(list(Severity)[length % 3], (odd,), refusal=length % 2 == 0, text=odd)


def moderate(folder: Path, suffix: str, guard: CountingGuard, chunk_rows: int) -> Any:
    return moderate_file(*paths(folder, suffix), guard=guard, chunk_rows=chunk_rows)


def paths(folder: Path, suffix: str) -> tuple[Path, Path]:
    (source,) = folder.glob("in.*")
    return source, folder / f"out{suffix}"


def write_table(rng: random.Random, folder: Path, suffix: str) -> tuple[bool, list[list[str]] | None]:
    """Write a random table: whether the file is whole, and a whole CSV's cells."""
    path = folder / f"in{suffix}"
    if suffix == ".csv":
        cells = csv_files.write(rng, path)
        return cells is not None, cells
    return (json_lines if suffix == ".jsonl" else parquet_files).write(rng, path), None


def check_output(source: Path, target: Path, cells: list[list[str]] | None) -> int:
    """Compare the output with the input; how many rows there are."""
    if source.suffix == ".csv":
        return csv_files.check(source, target, cells)
    return (json_lines if source.suffix == ".jsonl" else parquet_files).check(source, target)


def run(number: int, folder: Path) -> str:
    """Make one table, moderate it and check the output, or the refusal: how it ended."""
    rng = random.Random(number)
    own, suffix = rng.choices(FORMATS, [2, 1, 1, 1, 1])[0]
    is_whole, cells = write_table(rng, folder, own)
    source, target = paths(folder, suffix)
    data, guard, chunk_rows = source.read_bytes(), CountingGuard(), rng.randrange(1, 7)
    interrupted = CountingGuard(calls=rng.randrange(3)) if rng.random() < 0.3 else guard
    try:
        summary = moderate(folder, suffix, interrupted, chunk_rows)
    except Interrupted:  # its journal is there: what was accepted once is not refused now
        summary = moderate(folder, suffix, guard, chunk_rows)
    except UserError as error:
        check_refusal(str(error), str(source), is_whole)
        assert not interrupted.asked
        assert list(folder.iterdir()) == [source]
        return f"{own} refused"
    assert check_output(source, target, cells) == summary.rows
    assert source.read_bytes() == data
    assert sorted(folder.iterdir()) == sorted([source, target])
    return f"{own} read"


def check_refusal(message: str, source: str, is_whole: bool) -> None:
    """A refusal has a reason of the list, and a file without an accident only those of the first part."""
    shown = one_line(message)
    assert shown.isprintable()
    reason = shown.replace(f"'{source}'", "FILE")
    assert reason.startswith(REASONS if is_whole else (*REASONS, *REASONS_AFTER_AN_ACCIDENT)), shown


@pytest.mark.parametrize("first", range(0, TABLES, BLOCK))
def test_every_row_comes_out_or_nothing_is_judged(tmp_path: Path, first: int) -> None:
    ends: Counter[str] = Counter()
    for number in range(first, min(first + BLOCK, TABLES)):
        folder = tmp_path / str(number)
        folder.mkdir()
        try:
            ends[run(number, folder)] += 1
        except Exception as error:
            error.add_note(f"table {number}, in {folder}")
            raise
    print(dict(ends))
    # The tables are neither all good nor all bad.
    for format_name in (".jsonl", ".csv", ".parquet"):
        assert ends[f"{format_name} read"] >= 1
    assert sum(count for end, count in ends.items() if end.endswith("refused")) >= 1
