"""Asking a guard about labelled rows: each distinct conversation once, in chunks that a killed run need not repeat."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from guard_reward.errors import UserError
from guard_reward.evaluation.grading.judgements import Judgement, Record, judgements_of, record_of
from guard_reward.evaluation.grading.labelled import LabelledRow, Message, Task
from guard_reward.journal import Journal
from guard_reward.progress_bars import progress_bar
from guard_reward.verdict import Guard, Outcome, TokenTrace, Unjudged, describe_guard

__all__ = ["judge_rows"]

_CHUNK = 64  # conversations between two steps of the progress bar, and in one line of the journal
_BROKEN = {Outcome.GUARD_ERROR, Outcome.TIMEOUT}


class _Question:
    """A conversation to judge; a stream guard says from which token it flags a response that has a place."""

    def __init__(self, messages: list[Message], *, has_place: bool):
        self.messages = messages
        self.has_place = has_place

    @property
    def key(self) -> str:
        return json.dumps([self.messages, self.has_place], sort_keys=True)


def judge_rows(
    guard: Guard,
    rows: Sequence[LabelledRow],
    *,
    journal_path: Path | None = None,
    restart: bool = False,
    progress: bool = False,
) -> list[Judgement]:
    """Judge the rows on all their labels.

    Args:
        guard: the guard.
        rows: labelled rows.
        journal_path: where finished chunks are kept, so that the same call goes on after a kill; deleted by whoever
            has written the results elsewhere.
        restart: discard what is there.
        progress: show a bar on standard error.

    Raises:
        UserError: the journal is another job's; or, with a journal, the guard fails on all conversations of a chunk.
    """
    questions: dict[str, _Question] = {}
    for row in rows:
        for task in row.labels:
            question = _question(row, task)
            questions.setdefault(question.key, question)
    description = json.dumps(describe_guard(guard), ensure_ascii=False)
    if journal_path is None:
        records = list(_answers(guard, list(questions.values()), progress=progress))
    else:
        digest = hashlib.sha256("\n".join(questions).encode()).hexdigest()
        job = {"command": "grade", "conversations": digest, "guard": description}
        with Journal(journal_path, job, restart=restart) as journal:
            records = _with_journal(guard, list(questions.values()), journal, progress=progress)
    by_key = dict(zip(questions, records, strict=True))
    return [
        judgement
        for row in rows
        for judgement in judgements_of(
            row, {task: by_key[_question(row, task).key] for task in row.labels}, description
        )
    ]


def _question(row: LabelledRow, task: Task) -> _Question:
    has_place = row.place is not None and task is not Task.PROMPT_HARM and row.response is not None
    return _Question(row.conversation(task), has_place=has_place)


def _with_journal(guard: Guard, questions: list[_Question], journal: Journal, *, progress: bool) -> list[Record]:
    records: list[Record] = [result[0] for result in journal.results()]
    chunk: list[Record] = []
    left = questions[len(records) :]
    for number, record in enumerate(_answers(guard, left, progress=progress, done=len(records)), 1):
        chunk.append(record)
        if len(chunk) == _CHUNK or number == len(left):
            if all(it.get("outcome") in _BROKEN for it in chunk):
                raise UserError(
                    f"the guard failed on {len(chunk)} conversations in a row ({chunk[-1]['reason']}); "
                    "the same command goes on from here"
                )
            journal.append([[it] for it in chunk])
            records += chunk
            chunk = []
    return records


def _answers(guard: Any, questions: Sequence[_Question], *, progress: bool, done: int = 0) -> Iterator[Record]:
    total = done + len(questions)
    with progress_bar(total, "grade", "conversation", done=done, shown=progress) as bar:
        for begin in range(0, len(questions), _CHUNK):
            chunk = questions[begin : begin + _CHUNK]
            yield from _chunk_answers(guard, chunk)
            bar.update(len(chunk))


def _chunk_answers(guard: Any, chunk: Sequence[_Question]) -> list[Record]:
    is_stream = callable(getattr(guard, "trace", None))
    traced = [number for number, it in enumerate(chunk) if is_stream and it.has_place]
    others = [number for number in range(len(chunk)) if number not in set(traced)]
    records: dict[int, Record] = {}
    for numbers, ask in ((traced, getattr(guard, "trace", None)), (others, guard.moderate)):
        if numbers and ask is not None:
            verdicts = ask([chunk[number].messages for number in numbers])
            for number, verdict in zip(numbers, verdicts, strict=True):
                records[number] = _record(guard, chunk[number], verdict)
    return [records[number] for number in range(len(chunk))]


def _record(guard: Any, question: _Question, verdict: Any) -> Record:
    if isinstance(verdict, Unjudged):
        return {"outcome": verdict.outcome.value, "reason": verdict.reason}
    if not isinstance(verdict, TokenTrace):
        return record_of(verdict)
    before = len(guard.encode(question.messages)) - len(verdict.token_ids)
    at = int(verdict.probabilities[:, 0].argmin()) if verdict.flagged is None else verdict.flagged
    return {
        "severity": verdict.severity.value,
        "refusal": None,
        "probabilities": list(map(float, verdict.probabilities[at])),
        "refusal_probability": None,
        "flagged": None if verdict.flagged is None else before + verdict.flagged,
    }
