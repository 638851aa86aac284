"""Rows of rollouts tables as a page shows them: texts, thinking apart from the answer, a name for each row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from tqdm import tqdm

from guard_reward.errors import first_paragraph, one_line
from guard_reward.report.cells import text_of
from guard_reward.report.json_files import cleaned, well_formed
from guard_reward.report.run import Alarm
from guard_reward.report.sampling import Place, choose
from guard_reward.report.tables import Facts, Table, reward_of
from guard_reward.thinking import ends_open, joined, split_thinking

__all__ = ["MAX_TEXT", "Cache", "Reading", "Rollouts", "read_rollouts", "shown_row"]

MAX_TEXT = 20_000  # characters of a text that are shown
_MAX_COLUMNS = 60
_OWN = ("id", "step", "reward", "prompt", "thinking", "completion")
_MANY = 200  # tables that take seconds
_ALARM_ROWS = 10_000  # of a table
_ALARMS = 50  # whose rollouts are looked for in the tables

Stamp = tuple[int, int]
"""Size and time of a file."""

_Read = TypeVar("_Read")


class Cache:
    """What is known of files that have not changed: a page that is written again and again reads only new tables."""

    def __init__(self) -> None:
        self._facts: dict[Path, tuple[Any, Facts]] = {}
        self._rows: dict[Path, tuple[Stamp, dict[int, dict[str, Any]]]] = {}

    def facts(self, table: Table, stamp: Stamp, rewards: Mapping[str, float]) -> Facts:
        """What `Table.scan` says."""
        key = stamp, dict(rewards)
        known = self._facts.get(table.path)
        if known is None or known[0] != key:
            known = self._facts[table.path] = key, table.scan(rewards)
        return known[1]

    def rows(self, table: Table, stamp: Stamp, positions: Sequence[int]) -> dict[int, dict[str, Any]]:
        """What `Table.rows` says, by position."""
        before, known = self._rows.get(table.path, (None, {}))
        if before != stamp or not all(position in known for position in positions):
            known = dict(table.rows(positions))
        self._rows[table.path] = stamp, {at: known[at] for at in positions if at in known}
        return self._rows[table.path][1]


class Reading(NamedTuple):
    """How rollouts are read.

    Attributes:
        limit: how many rows of a run are kept; see `guard_reward.report.sampling.choose`.
        cache: of an earlier call.
        progress: show a bar on standard error if there are many tables.
    """

    limit: int
    cache: Cache
    progress: bool = False


class Rollouts(NamedTuple):
    """Rows to show, how many there are, and what is known of all of them.

    Attributes:
        rows: with ``id``, ``step``, ``reward``, ``prompt``, ``thinking``, ``completion`` and the table's other columns.
        total: how many rows the tables have.
        facts: of each table.
    """

    rows: list[dict[str, Any]]
    total: int
    facts: list[Facts]


def read_rollouts(
    tables: Sequence[Table],
    rewards: Mapping[str, float],
    reading: Reading,
    notes: list[str],
    alarms: Sequence[Alarm] = (),
) -> Rollouts:
    """Read tables, some of their rows whole. What cannot be read is noted.

    Args:
        tables: by step.
        rewards: weight by reward column.
        reading: how many rows, and what is known of the tables.
        notes: gets what could not be read, and that there are more rows than are shown.
        alarms: rows that caused them are shown in any case.
    """
    cache = reading.cache
    broken: list[str] = []
    stamped = [(table, stamp) for table in tables if (stamp := _stamp(table)) is not None]
    shown = tqdm(stamped, "rollouts tables", disable=not reading.progress or len(stamped) < _MANY, leave=False)
    scanned = (
        (table, stamp, _tried(table, partial(cache.facts, table, stamp, rewards), broken)) for table, stamp in shown
    )
    read = [(table, stamp, facts) for table, stamp, facts in scanned if facts is not None]
    all_facts = [facts for _, _, facts in read]
    wanted = _of_alarms([(table, facts) for table, _, facts in read], alarms, broken)
    chosen: dict[int, list[int]] = {}
    for number, row in choose(all_facts, reading.limit, wanted):
        chosen.setdefault(number, []).append(row)
    rows: list[dict[str, Any]] = []
    names: set[str] = set()
    for number, positions in chosen.items():
        table, stamp, facts = read[number]
        found = _tried(table, partial(cache.rows, table, stamp, positions), broken)
        for position, raw in (found or {}).items():
            row_shown = shown_row(raw, facts.steps[position], position, rewards)
            rows.append(row_shown | {"id": _unused(row_shown["id"], names)})
    _note_broken(broken, len(tables), notes)
    total = sum(len(facts.steps) for facts in all_facts)
    if total > len(rows) and rows:
        notes.append(
            f"{len(rows):,} of {total:,} rollouts are shown: some of every part of the run, and those first that are "
            "unsafe, have no verdict or the lowest rewards."
        )
    return Rollouts(rows, total, all_facts)


def shown_row(raw: Mapping[str, Any], step: int, position: int, rewards: Mapping[str, float]) -> dict[str, Any]:
    """A table's row as the page shows it.

    Args:
        raw: the row.
        step: of the trainer.
        position: in its table.
        rewards: weight by reward column; with one column, ``reward`` takes its place.

    >>> row = shown_row({"prompt": "Q", "completion": "<think>Hm.</think>A", "guard": 1.0}, 7, 2, {"guard": 1.0})
    >>> row["id"], row["reward"], row["thinking"], row["completion"], "guard" in row
    ('7-2', 1.0, 'Hm.', 'A', False)
    """
    prompt = _prompt(raw.get("prompt"))
    thinking, answer = _reply(raw.get("completion"), prefilled=ends_open(prompt))
    alone = set(rewards) if len(rewards) == 1 else set()
    others = [name for name in raw if name not in (*_OWN, *alone) and not name.startswith("__index_level_")]
    return {
        "id": f"{step}-{position}",
        "step": step,
        "reward": reward_of(raw, rewards),
        "prompt": _cut(prompt),
        "thinking": None if thinking is None else _cut(thinking),
        "completion": _cut(answer),
        **{well_formed(name)[:100]: _cell(raw[name]) for name in others[:_MAX_COLUMNS]},
    }


def _stamp(table: Table) -> Stamp | None:
    try:
        found = table.path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def _tried(table: Table, read: Callable[[], _Read], broken: list[str]) -> _Read | None:
    """What `read` returns; None if the table is broken, which is noted."""
    try:
        return read()
    except Exception as error:  # pyarrow has many kinds of errors for broken files, and some are plain Exceptions
        broken.append(f"{one_line(table.path.name)}: {first_paragraph(error)}")
        return None


def _of_alarms(tables: Sequence[tuple[Table, Facts]], alarms: Sequence[Alarm], broken: list[str]) -> set[Place]:
    """Where the rollouts stand that caused alarms: in the first table that reaches the alarm's step."""
    places: set[Place] = set()
    for alarm in alarms[-_ALARMS:]:
        texts = {_plain(rollout.get("completion")) for rollout in alarm.rollouts} - {""}
        reached = (at for at, (_, facts) in enumerate(tables) if facts.steps and facts.steps[-1] >= alarm.step)
        number = next(reached, None)
        if not texts or number is None:
            continue
        table, facts = tables[number]
        count = min(len(facts.steps), _ALARM_ROWS)
        rows = _tried(table, partial(_first_rows, table, count), broken)
        places.update((number, at) for at, row in rows or () if _plain(row.get("completion")) in texts)
    return places


def _first_rows(table: Table, count: int) -> list[tuple[int, dict[str, Any]]]:
    return list(table.rows(range(count)))


def _plain(completion: Any) -> str:
    """A completion as one text, in which tables and alarms can be compared."""
    thinking, answer = _reply(completion, prefilled=False)
    return (answer if thinking is None else joined(thinking, answer)).strip()


def _note_broken(broken: Sequence[str], count: int, notes: list[str]) -> None:
    if broken:
        files = dict.fromkeys(broken)
        notes.append(f"{len(files)} of {count} rollouts tables could not be read, such as {next(iter(files))}.")


def _unused(name: str, taken: set[str]) -> str:
    """The name, with a number if it is taken: two tables may have the same step."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}-{number}"
    taken.add(free)
    return free


def _prompt(value: Any) -> str:
    messages = _messages(value)
    if messages is None:
        return well_formed(text_of(cleaned(value)))
    if len(messages) == 1 and messages[0].get("role") == "user":
        return _content(messages[0])
    return _dialogue(messages)


def _reply(value: Any, *, prefilled: bool) -> tuple[str | None, str]:
    """Thinking and answer of a completion: a text, or chat messages with ``reasoning_content`` or tags."""
    messages = _messages(value)
    if messages is None:
        return split_thinking(well_formed(text_of(cleaned(value))), prefilled=prefilled)
    parts = [(message, _thinking_of(message), split_thinking(_content(message))) for message in messages]
    thoughts = [thought for _, said, (tagged, _) in parts for thought in (said, tagged) if thought]
    if len(parts) == 1:
        answer = parts[0][2][1]
    else:
        answer = _dialogue([{**message, "content": rest} for message, _, (_, rest) in parts])
    return ("\n\n".join(thoughts) if thoughts else None), answer


def _thinking_of(message: Mapping[str, Any]) -> str:
    return well_formed(text_of(cleaned(message.get("reasoning_content") or message.get("thinking"))))


def _messages(value: Any) -> list[Mapping[str, Any]] | None:
    """Chat messages; None for anything else."""
    if isinstance(value, Mapping):
        value = [value]
    if isinstance(value, list) and value and all(isinstance(item, Mapping) and "content" in item for item in value):
        return value
    return None


def _dialogue(messages: Iterable[Mapping[str, Any]]) -> str:
    return "\n\n".join(f"{text_of(cleaned(message.get('role')))}: {_content(message)}" for message in messages)


def _content(message: Mapping[str, Any]) -> str:
    """A message's text: its content's, or that of its content's parts; then the tools that it calls."""
    content = message.get("content")
    if isinstance(content, list) and all(isinstance(part, Mapping) for part in content):
        content = "\n".join(text_of(cleaned(part.get("text") or f"[{part.get('type')}]")) for part in content)
    calls = message.get("tool_calls")
    texts = [text_of(cleaned(content)), f"[tool calls: {cleaned(calls)}]" if calls else ""]
    return well_formed("\n".join(text for text in texts if text))


def _cell(value: Any) -> Any:
    if isinstance(value, bool | int | float) or value is None:
        return cleaned(value)
    return _cut(well_formed(text_of(cleaned(value))))


def _cut(text: str) -> str:
    """A text, shortened if it is too long to be shown.

    >>> _cut("x" * (MAX_TEXT + 5))[-24:]
    'xxx… (5 more characters)'
    """
    more = len(text) - MAX_TEXT
    return text if more <= 0 else f"{text[:MAX_TEXT]}… ({more:,} more characters)"
