"""Random tables: every row comes out, in order and unchanged, or the file is refused before anything is judged.

GUARD_REWARD_RANDOM_TABLES=5000 runs that many; each comes from its own number, so a failure can be repeated.
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


def run(number: int, folder: Path) -> str:
    """Make one table, moderate it and check the output: how it ended."""
    rng = random.Random(number)
    own, suffix = rng.choices(FORMATS, [2, 1, 1, 1, 1])[0]
    source, cells = folder / f"in{own}", None
    if own == ".csv":
        cells = csv_files.write(rng, source)
    else:
        (json_lines if own == ".jsonl" else parquet_files).write(rng, source)
    data, guard, chunk_rows = source.read_bytes(), CountingGuard(), rng.randrange(1, 7)
    interrupted = CountingGuard(calls=rng.randrange(3)) if rng.random() < 0.3 else guard
    refusal, summary = None, None
    try:
        summary = moderate(folder, suffix, interrupted, chunk_rows)
    except Interrupted:  # its journal is there: what was accepted once is not refused now
        summary = moderate(folder, suffix, guard, chunk_rows)
    except UserError as error:
        refusal = one_line(error)
    if refusal is not None:
        assert refusal
        assert refusal.isprintable()
        assert not interrupted.asked
        assert list(folder.iterdir()) == [source]
        return f"{own} refused"
    target = paths(folder, suffix)[1]
    if own == ".csv":
        rows = csv_files.check(source, target, cells)
    else:
        rows = (json_lines if own == ".jsonl" else parquet_files).check(source, target)
    assert rows == summary.rows
    assert source.read_bytes() == data
    assert sorted(folder.iterdir()) == sorted([source, target])
    return f"{own} read"


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
