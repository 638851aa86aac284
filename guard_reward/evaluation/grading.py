"""How good a guard is on labelled conversations, in Qwen3GuardTest's format.

A file has one JSON object per line:

| field | meaning |
|---|---|
| ``message`` (or ``messages``) | the conversation, as chat messages; the last one is judged |
| ``label`` | ``Safe``, ``Controversial`` or ``Unsafe`` |
| ``unsafe_start_index``, ``unsafe_end_index`` | where an unsafe response becomes unsafe: the first and the last token, counted in the guard's whole input; for latency, and only with a stream guard |
"""  # noqa: E501  a table

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from guard_reward.errors import UserError
from guard_reward.evaluation.latency import Detection, Latency, Scores, latency, unsafe_scores
from guard_reward.verdict import Guard, Severity, TokenTrace, Unjudged, Verdict, describe_guard

__all__ = ["Case", "Grade", "grade", "read_cases"]

_CHUNK = 64  # conversations between two steps of the progress bar


@dataclass(frozen=True, slots=True)
class Case:
    """A labelled conversation; see the module for the fields."""

    messages: list[dict[str, Any]]
    label: Severity
    start: int | None = None
    end: int | None = None

    @property
    def is_response(self) -> bool:
        """Whether a response is judged, or a prompt."""
        return self.messages[-1].get("role") == "assistant"


@dataclass(frozen=True, slots=True)
class Grade:
    """What came of a file.

    Attributes:
        guard: which guard, and its version.
        cases: how many conversations there are.
        unjudged: how many of them have no verdict, by reason. They are in none of the other numbers.
        strict, loose: scores of the class Unsafe, Controversial counted as Unsafe or as Safe; None without a verdict.
        latency: None without unsafe responses that have a place, or without a stream guard.
    """

    guard: dict[str, str]
    cases: int
    unjudged: dict[str, int]
    strict: Scores | None
    loose: Scores | None
    latency: Latency | None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def read_cases(path: Path) -> list[Case]:
    """The cases of a file.

    Raises:
        UserError: names the line and the field that is wrong.
        OSError: the file cannot be read.
    """
    with path.open(encoding="utf-8") as file:
        cases = [_case(line, f"{path}: line {number}") for number, line in enumerate(file, 1) if line.strip()]
    if not cases:
        raise UserError(f"{path} has no lines")
    return cases


def grade(guard: Guard, cases: Sequence[Case], *, progress: bool = False) -> Grade:
    """Judge the cases and compare.

    Args:
        guard: a stream guard also gives latency.
        cases: labelled conversations.
        progress: show a bar on standard error.
    """
    from tqdm import tqdm

    detections: list[Detection] = []
    unjudged: Counter[str] = Counter()
    with tqdm(total=len(cases), desc="grade", unit="case", disable=not progress) as bar:
        for begin in range(0, len(cases), _CHUNK):
            chunk = cases[begin : begin + _CHUNK]
            for found in _detections(guard, chunk):
                if isinstance(found, Unjudged):
                    unjudged[f"{found.outcome}: {found.reason}"] += 1
                else:
                    detections.append(found)
            bar.update(len(chunk))
    placed = [it for it in detections if it.label is Severity.UNSAFE and it.start is not None]
    return Grade(
        describe_guard(guard),
        len(cases),
        dict(unjudged.most_common()),
        unsafe_scores(detections, controversial_is_unsafe=True) if detections else None,
        unsafe_scores(detections, controversial_is_unsafe=False) if detections else None,
        latency(placed) if placed else None,
    )


def _detections(guard: Any, cases: Sequence[Case]) -> Iterator[Detection | Unjudged]:
    is_stream = callable(getattr(guard, "trace", None))
    conversations = [case.messages for case in cases]
    verdicts: Sequence[Verdict | TokenTrace | Unjudged] = (
        guard.trace(conversations) if is_stream else guard.moderate(conversations)
    )
    for case, verdict in zip(cases, verdicts, strict=True):
        if isinstance(verdict, Unjudged):
            yield verdict
        elif isinstance(verdict, TokenTrace) and case.is_response:
            before = len(guard.encode(case.messages)) - len(verdict.token_ids)
            flagged = None if verdict.flagged is None else before + verdict.flagged
            yield Detection(case.label, verdict.severity, flagged, case.start, case.end)
        else:
            yield Detection(case.label, verdict.severity)


def _case(line: str, place: str) -> Case:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise UserError(f"{place} is not JSON: {error}") from error
    if not isinstance(row, dict):
        raise UserError(f"{place} is not an object with the fields message and label")
    messages = row.get("message", row.get("messages"))
    if not isinstance(messages, list) or not messages or not all(isinstance(it, dict) for it in messages):
        raise UserError(f"{place}: message should be a list of chat messages")
    label = str(row.get("label", "")).capitalize()
    if label not in list(Severity):
        raise UserError(f"{place}: label should be {', '.join(Severity)}, found {row.get('label')!r}")
    start, end = (row.get(f"unsafe_{name}_index") for name in ("start", "end"))
    if (start is None) != (end is None) or not all(it is None or type(it) is int for it in (start, end)):
        raise UserError(f"{place}: unsafe_start_index and unsafe_end_index should be two whole numbers, or missing")
    if start is not None and end is not None and not 0 <= start <= end:
        raise UserError(f"{place}: unsafe_start_index {start} to unsafe_end_index {end} is no place in a text")
    return Case(messages, Severity(label), start, end)
