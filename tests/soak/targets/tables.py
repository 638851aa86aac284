"""Data files with anything in them: refused by name, or every line is a row, and a bad one says its number."""

from __future__ import annotations

import csv
import json
import re
from random import Random
from typing import Any, NamedTuple

from guard_reward.errors import UserError, one_line
from guard_reward.moderation.columns import choose_columns
from guard_reward.moderation.tables import Field, Kind, Row, Table, open_table, table_writer
from guard_reward.verdict import Outcome, Unjudged
from tests.soak.folders import folder
from tests.soak.target import Target, require
from tests.soak.texts import WORDS, hostile_text, json_value, mutated

_FIELDS = [Field("guard_severity", Kind.TEXT)]
_NAMES = ["prompt", "response", "messages", "completion", "chosen", "rejected", "id"]
_NUMBERED = re.compile(r"^(?:line|row) \d+ ")


class File(NamedTuple):
    """A file of this format with this content."""

    suffix: str
    content: bytes


def _make(random: Random) -> File:
    rows = [_row(random) for _ in range(random.randrange(5))]
    if random.random() < 0.35:
        names = random.sample(_NAMES, 2)
        lines = [names, *([random.choice((hostile_text(random, 3), "x")) for _ in names] for _ in rows)]
        text = "".join(",".join(_cell(random, value) for value in line) + "\n" for line in lines)
        return File(".csv", _bytes(random, mutated(random, text)))
    text = "".join(
        f"{json.dumps(row, default=str, skipkeys=True, ensure_ascii=random.random() < 0.5)}\n" for row in rows
    )
    if random.random() < 0.6:
        text = mutated(
            random, text, lambda source: source.choice(("\n", "{}", "[" * 300, "9" * 5000, "]\n", '{"a": 1'))
        )
    return File(".jsonl", _bytes(random, text))


def _row(random: Random) -> Any:
    if random.random() < 0.1:
        return json_value(random)
    messages = [{"role": random.choice(("user", "assistant", "tool", "x")), "content": hostile_text(random, 3)}]
    values = [hostile_text(random, 4), messages, json_value(random), None, "Why?", ["a"], 3]
    return {name: random.choice(values) for name in random.sample(_NAMES, random.randrange(4))}


def _cell(random: Random, text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if random.random() < 0.8 else text


def _bytes(random: Random, text: str) -> bytes:
    content = text.encode("utf-8", random.choice(("backslashreplace", "surrogatepass")))
    if random.random() < 0.1:
        place = random.randrange(len(content) + 1)
        content = content[:place] + bytes([random.randrange(256)]) + content[place + 1 :]
    return random.choice((b"", b"", b"", b"\xef\xbb\xbf", b"\xff\xfe")) + content


def _check(file: File) -> None:
    path = folder() / f"table{file.suffix}"
    path.write_bytes(file.content)
    try:
        table = open_table(path)
    except UserError as error:
        require(str(path) in str(error) and one_line(error).isprintable(), "a refusal names the file", str(error))
        return
    rows = list(table.rows())
    faults = [row for row in rows if row.fault]
    require((table.row_count, table.fault_count) == (len(rows), len(faults)), "rows are counted")
    if file.suffix == ".jsonl":
        lines = [line for line in file.content.removeprefix(b"\xef\xbb\xbf").split(b"\n") if line.strip()]
        require(len(rows) == len(lines), "every line that is not blank is a row", len(rows), len(lines))
    for row in faults:
        require(_NUMBERED.match(row.fault) and not row.values, "a faulty row says where it is", row)
    _check_written(file, table, rows)
    _check_conversations(table, rows)


def _check_written(file: File, table: Table, rows: list[Row]) -> None:
    """Written again with a column, as JSON lines: the rows are still there."""
    target = folder() / "written.jsonl"
    table_writer(table.path, target)(target, table, _FIELDS, ([WORDS[0]] for _ in rows))
    written = [json.loads(line) for line in target.read_bytes().split(b"\n")[:-1]]
    require(len(written) == len(rows), "as many rows as before", len(written))
    for row, found in zip(rows, written, strict=True):
        require(found.pop("guard_severity") == WORDS[0], "the column is there")
        require(repr(found) == repr(_joined(dict(row.values))), "a row is as it was", found)


def _joined(value: Any) -> Any:
    """As JSON reads it again: half surrogates that belong together become their character."""
    return json.loads(json.dumps(value))


def _check_conversations(table: Table, rows: list[Row]) -> None:
    try:
        columns = choose_columns(table.columns)
    except UserError as error:
        require(str(error), "a refusal says why")
        return
    for row in rows:
        for judged in columns if not row.fault else ():
            found = judged.conversation(row.values)
            if isinstance(found, Unjudged):
                require(found.outcome in (Outcome.EMPTY, Outcome.GUARD_ERROR) and found.reason, "it says why", found)
            else:
                require(found, "a conversation has messages")


csv.field_size_limit(2**31 - 1)
TARGETS = [Target("tables", _make, _check, share=25)]
