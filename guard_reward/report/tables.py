"""The rollouts tables of a run: TRL's ``completions/*.parquet``, or JSON lines.

A table is read twice: `Table.scan` looks at the small columns of every row, batch by batch, and `Table.rows` reads some
rows whole. So a table need not fit into memory.
"""

from __future__ import annotations

import math
import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from guard_reward.report.json_files import is_regular, read_lines

__all__ = ["Facts", "Table", "reward_of", "tables_of"]

UNSAFE, NOT_SCORED, CONTROVERSIAL = 3, 2, 1
"""How much a row deserves a look (`Facts.concerns`); 0 for other rows."""

_BATCH = 1024  # rows in memory at a time
_MAX_VALUES = 20_000_000
_MAX_GROUP_BYTES = 2**30
_MAX_ITEMS = 1000  # of a list, such as the messages of a dialogue
_MOST_CHARACTERS, _CHARACTERS = 300_000_000, (20_000, 200_000)  # of a table's rows together; of a text
_LINES = "rollouts.jsonl"
_OTHER_SEVERITIES = ("thinking_severity", "prompt_severity", "shadow_severity")
_SMALL = ("severity", "outcome", "refusal", "injection_attempts")


@dataclass
class Facts:
    """What is known of every row of a table, in the table's order.

    Attributes:
        steps: of the trainer.
        concerns: `UNSAFE`, `NOT_SCORED` (or an injection attempt), `CONTROVERSIAL` or 0.
        rewards: NaN where there is none.
        counts: by step, how many rows there are, are judged, unjudged, safe, of known refusal, and
            refused.
    """

    steps: array[int] = field(default_factory=lambda: array("q"))
    concerns: array[int] = field(default_factory=lambda: array("b"))
    rewards: array[float] = field(default_factory=lambda: array("d"))
    counts: dict[int, Counter[str]] = field(default_factory=dict)


class Table:
    """One file of rollouts.

    Args:
        path: of the file.
        step: of rows that say none.
    """

    def __init__(self, path: Path, step: int) -> None:
        self.path = path
        self.step = step

    def columns(self) -> list[str]:
        """The names of its columns; none if it cannot be read, or is a file of JSON lines."""
        if self.path.suffix != ".parquet":
            return []
        import pyarrow.parquet as pq

        try:
            return list(pq.read_schema(self.path).names)
        except Exception:  # the scan says why
            return []

    def scan(self, rewards: Mapping[str, float]) -> Facts:
        """Look at every row.

        Args:
            rewards: weight by column.

        Raises:
            Exception: whatever pyarrow raises for a broken file.
        """
        facts = Facts()
        for columns, count in self._batches(lambda names: [name for name in names if _is_small(name, rewards)]):
            _add(facts, columns, count, rewards, self.step)
        return facts

    def rows(self, wanted: Sequence[int]) -> Iterator[tuple[int, dict[str, Any]]]:
        """Read some rows, their texts up to 20,000 characters at least and 200,000 at most.

        Args:
            wanted: their positions, ascending.

        Yields:
            Position and row.
        """
        begin = place = 0
        limit = max(_CHARACTERS[0], min(_CHARACTERS[1], _MOST_CHARACTERS // max(1, len(wanted))))
        for columns, count in self._batches(None):
            while place < len(wanted) and wanted[place] < begin + count:
                at = wanted[place] - begin
                yield wanted[place], {name: _shortened(values[at], limit) for name, values in columns.items()}
                place += 1
            begin += count
            if place == len(wanted):
                return

    def _batches(self, choose: _Choose | None) -> Iterator[tuple[Mapping[str, _Column], int]]:
        return _parquet(self.path, choose) if self.path.suffix == ".parquet" else _json_lines(self.path, choose)


_Choose = Callable[[Sequence[str]], Sequence[str]]
_Column = Sequence[Any]


def tables_of(folder: Path, last_step: int) -> list[Table]:
    """The rollouts tables of a run, by step.

    Args:
        folder: of the run.
        last_step: of rows in JSON lines that say no step.
    """
    try:
        files = [path for path in (folder / "completions").iterdir() if path.suffix == ".parquet" and is_regular(path)]
    except OSError:
        files = []
    tables = sorted((Table(path, _number(path)) for path in files), key=lambda table: (table.step, table.path.name))
    lines = folder / _LINES
    return [*tables, *([Table(lines, last_step)] if is_regular(lines) else [])]


def reward_of(row: Mapping[str, Any], rewards: Mapping[str, float]) -> float | None:
    """The weighted sum of a row's rewards, as the trainer adds them up; None if it has none."""
    found = [weight * value for name, weight in rewards.items() if (value := _finite(row.get(name))) is not None]
    return sum(found) if found else None


def _number(path: Path) -> int:
    """The step in ``completions_00120.parquet``."""
    numbers = re.findall(r"[0-9]{1,12}", path.stem)
    return int(numbers[-1]) if numbers else 0


def _is_small(name: str, rewards: Mapping[str, float]) -> bool:
    return name == "step" or name in rewards or name.endswith(_SMALL)


def _add(
    facts: Facts, columns: Mapping[str, _Column], count: int, rewards: Mapping[str, float], default_step: int
) -> None:
    said = columns.get("step", ())
    steps = [value if _is_step(value) else default_step for value in said] if said else [default_step] * count
    facts.steps.extend(steps)
    facts.concerns.extend(_concerns(columns, count))
    facts.rewards.extend(_rewards(columns, count, rewards))
    _count(facts.counts, columns, steps)


def _concerns(columns: Mapping[str, _Column], count: int) -> list[int]:
    found = [0] * count
    for name, values in columns.items():
        rule = _rule(name)
        if rule is not None:
            found = [max(one, rule(value)) for one, value in zip(found, values, strict=True)]
    return found


def _rule(name: str) -> Callable[[Any], int] | None:
    if name.endswith("severity") and not name.endswith("prompt_severity"):
        return lambda value: {"Unsafe": UNSAFE, "Controversial": CONTROVERSIAL}.get(value, 0) if _is_text(value) else 0
    if name.endswith("outcome"):
        return lambda value: NOT_SCORED if _is_text(value) and value not in ("scored", "") else 0
    if name.endswith("injection_attempts"):
        return lambda value: NOT_SCORED if (_finite(value) or 0) > 0 else 0
    return None


def _rewards(columns: Mapping[str, _Column], count: int, rewards: Mapping[str, float]) -> list[float]:
    known = {name: columns[name] for name in rewards if name in columns}
    rows = ({name: values[at] for name, values in known.items()} for at in range(count))
    return [math.nan if (reward := reward_of(row, rewards)) is None else reward for row in rows]


def _count(counts: dict[int, Counter[str]], columns: Mapping[str, _Column], steps: Sequence[int]) -> None:
    severity = next(
        (name for name in columns if name.endswith("severity") and not name.endswith(_OTHER_SEVERITIES)), None
    )
    severities = columns[severity] if severity is not None else [None] * len(steps)
    refusal = None if severity is None else f"{severity.removesuffix('severity')}refusal"
    refusals = columns.get(refusal or "", [None] * len(steps))
    outcomes = columns.get(f"{(severity or '').removesuffix('severity')}outcome", [None] * len(steps))
    for step, severity_of_row, refuses, outcome in zip(steps, severities, refusals, outcomes, strict=True):
        of_step = counts.setdefault(step, Counter())
        of_step["rows"] += 1
        of_step["unjudged"] += severity_of_row is None and outcome not in (None, "", "empty")
        if _is_text(severity_of_row) and severity_of_row in ("Safe", "Controversial", "Unsafe"):
            of_step["judged"] += 1
            of_step["safe"] += severity_of_row == "Safe"
        if isinstance(refuses, bool):
            of_step["refusal_known"] += 1
            of_step["refused"] += refuses


def _parquet(path: Path, choose: _Choose | None) -> Iterator[tuple[Mapping[str, _Column], int]]:
    """Batches of a table; texts stay in their dictionaries, so a value that a million rows share is there once."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        _refuse_what_is_huge(file.metadata)
        leaves = (file.schema.column(number) for number in range(len(file.schema)))
        texts = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
        names = list(dict.fromkeys(file.schema_arrow.names))
    chosen = names if choose is None else list(choose(names))
    with pq.ParquetFile(path, read_dictionary=texts) as file:
        for batch in file.iter_batches(_BATCH, columns=chosen, use_threads=False):
            # A column's name with a dot also reads what lies below another one: what was asked for is taken by name.
            present = {name: batch.column(name) for name in chosen if batch.schema.get_field_index(name) >= 0}
            is_nested = {name: pa.types.is_nested(column.type) for name, column in present.items()}
            yield (
                {
                    # No small column is nested; of a large one only the rows that are wanted become Python objects.
                    name: ([None] * len(column) if choose else _Lazy(column)) if is_nested[name] else _values(column)
                    for name, column in present.items()
                },
                batch.num_rows,
            )


def _refuse_what_is_huge(metadata: Any) -> None:
    """A small file may stand for a lot: a page that compresses well, or a million empty values."""
    if metadata.num_rows > _MAX_VALUES:
        raise ValueError(f"it has {metadata.num_rows:,} rows; at most {_MAX_VALUES:,} are read")
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        if group.total_byte_size > _MAX_GROUP_BYTES:
            raise ValueError(f"it has a row group of more than {_MAX_GROUP_BYTES // 2**20} MB")
        if any(group.column(number).num_values > _MAX_VALUES for number in range(group.num_columns)):
            raise ValueError(f"it has a column of more than {_MAX_VALUES:,} values")


class _Lazy(Sequence[Any]):
    """A nested column whose rows become Python objects one by one."""

    def __init__(self, column: Any) -> None:
        self._column = column

    def __len__(self) -> int:
        return len(self._column)

    def __getitem__(self, at: Any) -> Any:
        return _values(self._column.slice(at, 1))[0]


def _values(column: Any) -> _Column:
    """A column's values; texts that are not UTF-8 with U+FFFD."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        texts = _values(column.dictionary)
        return [None if index is None else texts[index] for index in column.indices.to_pylist()]
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:
        if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            return [None] * len(column)
        raw = column.cast(pa.large_binary() if pa.types.is_large_string(column.type) else pa.binary()).to_pylist()
        return [value if value is None else value.decode("utf-8", "replace") for value in raw]


def _shortened(value: Any, limit: int) -> Any:
    """A row's value with its texts cut, so that thousands of rows fit into memory."""
    if isinstance(value, str | bytes) and len(value) > limit:
        return value[:limit]
    if isinstance(value, dict):
        return {key: _shortened(found, limit) for key, found in value.items()}
    if isinstance(value, list):
        return [_shortened(found, limit) for found in value[:_MAX_ITEMS]]
    return value


def _json_lines(path: Path, choose: _Choose | None) -> Iterator[tuple[Mapping[str, _Column], int]]:
    """All rows with the columns of all rows of their batch; broken lines are left out."""
    batch: list[dict[str, Any]] = []
    for line in read_lines(path, []):
        batch.append(line)
        if len(batch) == _BATCH:
            yield _columns(batch, choose), len(batch)
            batch = []
    if batch:
        yield _columns(batch, choose), len(batch)


def _columns(rows: Sequence[Mapping[str, Any]], choose: _Choose | None) -> dict[str, _Column]:
    names = list(dict.fromkeys(name for row in rows for name in row))
    return {name: [row.get(name) for row in rows] for name in (names if choose is None else choose(names))}


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_step(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53


def _finite(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None
