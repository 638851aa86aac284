"""Journals of killed and damaged runs: no row is lost, none is judged twice, and damage is refused by name."""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random
from typing import Any, NamedTuple

from guard_reward.errors import UserError
from guard_reward.journal import Journal
from guard_reward.moderation.moderate import moderate_file
from tests.scripted_guard import ScriptedGuard
from tests.soak.folders import folder
from tests.soak.target import Target, require
from tests.soak.texts import hostile_text, mutated

_JOB = {"input": "a.jsonl", "guard": "some/guard"}
_GARBAGE = [
    b"\x00\x00\x00",
    b"garbage",
    b"{}",
    b"[]",
    b'{"start": 0, "results": []}',
    b"\xff\xfe",
    b"null",
    b"[" * 5000,
]


class Damage(NamedTuple):
    """A journal's chunks of results, and what happened to the file: a place and a change.

    Attributes:
        change: ``cut`` at the place (a kill), ``line`` put in, ``double`` or ``drop`` a line, or ``byte`` changed.
    """

    chunks: list[list[list[Any]]]
    change: str
    place: float
    garbage: bytes


def _make(random: Random) -> Damage:
    chunks = [
        [
            [random.choice(("scored", "empty")), hostile_text(random, 2), random.random()]
            for _ in range(random.randrange(4))
        ]
        for _ in range(random.randrange(5))
    ]
    change = random.choice(("cut", "cut", "cut", "line", "double", "drop", "byte"))
    return Damage(chunks, change, random.random(), random.choice(_GARBAGE))


def _damaged(content: bytes, damage: Damage) -> bytes:
    place = int(damage.place * (len(content) + 1))
    if damage.change == "cut":
        return content[:place]
    if damage.change == "byte":
        return content[:place] + damage.garbage[:1] + content[place + 1 :]
    lines = content.splitlines(keepends=True)
    number = int(damage.place * len(lines))
    if damage.change == "line":
        return b"".join([*lines[: number + 1], damage.garbage, b"\n", *lines[number + 1 :]])
    if damage.change == "double":
        return b"".join([*lines[: number + 1], *lines[number:]])
    return b"".join([*lines[:number], *lines[number + 1 :]])


def _check(damage: Damage) -> None:
    path = folder() / "a.journal"
    path.unlink(missing_ok=True)
    rows = json.loads(json.dumps([row for chunk in damage.chunks for row in chunk]))  # joins surrogate pairs
    with Journal(path, _JOB) as journal:
        for chunk in damage.chunks:
            journal.append(chunk)
        require(journal.row_count == len(rows) and list(journal.results()) == rows, "what is written is read")
    content = _damaged(path.read_bytes(), damage)
    path.write_bytes(content)
    try:
        journal = Journal(path, _JOB)
    except UserError as error:
        require(damage.change != "cut", "a killed run goes on", str(error))
        require(str(path) in str(error), "a refusal names the file", str(error))
        require(path.read_bytes() == content, "what is refused is not changed")
        return
    with journal:
        found = list(journal.results())
        require(len(found) == journal.row_count, "every row counts once", len(found))
        if damage.change != "byte":  # a changed byte may be a changed value
            require(found == rows[: len(found)], "rows are those of the run, in order", found)
        if damage.change == "cut":
            require(len(found) == _whole_rows(damage, content), "and none of a whole line is lost", len(found))
        journal.append(rows[len(found) :])
        require(len(list(journal.results())) == max(len(rows), len(found)), "the run goes on where it was")


def _whole_rows(damage: Damage, content: bytes) -> int:
    lines = content.count(b"\n") - 1  # without the header
    return sum(map(len, damage.chunks[: max(lines, 0)]))


class Killed(NamedTuple):
    """Rows of a file, after how many calls of the guard the run was killed, and where the kill cut the journal."""

    answers: list[str]
    calls: int
    place: float


class _Kill(Exception):
    pass


class _Guard(ScriptedGuard):
    """Ends the run after some calls."""

    def __init__(self, calls: int):
        super().__init__()
        self.calls = calls

    def moderate(self, conversations: Sequence[Any]) -> Any:
        if not self.calls:
            raise _Kill
        self.calls -= 1
        return super().moderate(conversations)


def _make_killed(random: Random) -> Killed:
    answers = [mutated(random, "They attract iron.") for _ in range(random.randrange(1, 12))]
    return Killed(answers, random.randrange(4), random.random())


def _check_killed(killed: Killed) -> None:
    source, target, whole = (folder() / name for name in ("in.jsonl", "out.jsonl", "whole.jsonl"))
    journal = folder() / "out.jsonl.journal"
    for path in (source, target, whole, journal):
        path.unlink(missing_ok=True)
    rows = [{"prompt": f"question {number}", "response": answer} for number, answer in enumerate(killed.answers)]
    source.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    options = {"chunk_rows": 3, "progress": False, "keep_going": True}
    unbroken, guard = _Guard(-1), _Guard(killed.calls)
    moderate_file(source, whole, guard=unbroken, **options)
    try:
        moderate_file(source, target, guard=guard, **options)
    except _Kill:
        content = journal.read_bytes()
        journal.write_bytes(content[: int(killed.place * (len(content) + 1))])
        begun = journal.read_bytes().count(b"\n") - 1
        rest = _Guard(-1)
        summary = moderate_file(source, target, guard=rest, **options)
        require(summary.resumed_rows == 3 * max(begun, 0), "rows that were finished stay finished", summary)
        require(rest.asked == unbroken.asked[len(unbroken.asked) - len(rest.asked) :], "only the others are judged")
    require(target.read_bytes() == whole.read_bytes(), "the output is that of a run that was never killed")
    require(not journal.exists(), "no journal is left")


TARGETS = [
    Target("journals", _make, _check, share=25),
    Target("resumed-runs", _make_killed, _check_killed, share=2),
]
