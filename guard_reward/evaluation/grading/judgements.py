"""What a guard says of labelled rows, recorded: one line per row and task, from which everything else is computed.

| field | meaning |
|---|---|
| ``row``, ``id`` | number in the labelled set, and the row's own name |
| ``task`` | prompt_harm, response_harm or refusal |
| ``source``, ``language``, ``categories`` | the row's groups |
| ``label`` | Safe, Controversial or Unsafe; compliance, partial or refusal |
| ``outcome``, ``reason`` | how the judging ended: ``scored``, or why there is no verdict |
| ``verdict`` | Safe, Controversial or Unsafe; compliance or refusal; null without one |
| ``p_safe``, ``p_controversial``, ``p_unsafe``, ``p_refusal`` | the guard's probabilities, or null |
| ``traced`` | whether a stream guard said from which token it flags the response |
| ``flagged``, ``unsafe_start_index``, ``unsafe_end_index`` | for latency: tokens of the guard's whole input, or null |
| ``prompt_hash`` | the same for rows with the same prompt |
| ``guard`` | which guard, as JSON |
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from guard_reward.errors import UserError, one_line, shortened
from guard_reward.evaluation.grading.labelled import LabelledRow, Refusal, Task
from guard_reward.files import replacing
from guard_reward.verdict import Outcome, Severity, Verdict

__all__ = ["Judgement", "judgements_of", "read_judgements", "record_of", "write_judgements"]

Record = dict[str, Any]
"""One conversation's verdict, or why there is none, as JSON."""

_TEXTS = ("id", "source", "language", "reason", "prompt_hash", "guard")
_NO_REFUSALS = "the guard does not say whether a response refuses"
_VERDICTS = {task: tuple(Severity) for task in Task} | {Task.REFUSAL: (Refusal.COMPLIANCE, Refusal.REFUSAL)}
_LABELS = {task: tuple(Severity) for task in Task} | {Task.REFUSAL: tuple(Refusal)}


@dataclass(frozen=True, slots=True)
class Judgement:
    """One row and task; see the module for the fields."""

    row: int
    id: str
    task: Task
    source: str
    language: str
    categories: tuple[str, ...]
    label: str
    outcome: Outcome
    reason: str
    verdict: str | None
    p_safe: float | None
    p_controversial: float | None
    p_unsafe: float | None
    p_refusal: float | None
    traced: bool
    flagged: int | None
    unsafe_start_index: int | None
    unsafe_end_index: int | None
    prompt_hash: str
    guard: str


def record_of(verdict: Verdict) -> Record:
    """What is kept of a verdict. Stream guards' `flagged` is added by who asked them."""
    return {
        "severity": verdict.severity.value,
        "refusal": verdict.refusal,
        "probabilities": None if verdict.probabilities is None else list(map(float, verdict.probabilities)),
        "refusal_probability": None if verdict.refusal_probability is None else float(verdict.refusal_probability),
    }


def judgements_of(row: LabelledRow, records: Mapping[Task, Record], guard: str) -> list[Judgement]:
    """A row's judgements, one per label.

    Args:
        row: the row.
        records: what the guard said, by task.
        guard: its description.
    """
    asked = row.prompt or row.response  # responses without a prompt have none in common
    prompt_hash = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]
    found = []
    for task, label in row.labels.items():
        record = records[task]
        outcome, reason, verdict = Outcome(record.get("outcome", "scored")), record.get("reason", ""), None
        if outcome is Outcome.SCORED and task is Task.REFUSAL:
            verdict = _refusal(record["refusal"])
            outcome, reason = (outcome, reason) if verdict else (Outcome.NO_VERDICT, _NO_REFUSALS)
        elif outcome is Outcome.SCORED:
            verdict = record["severity"]
        is_harm = task is not Task.REFUSAL
        safe, controversial, unsafe = (is_harm and record.get("probabilities")) or (None, None, None)
        start, end = row.place if task is Task.RESPONSE_HARM and row.place else (None, None)
        found.append(
            Judgement(
                row.number,
                row.name,
                task,
                row.source,
                row.language,
                row.categories,
                label.value,
                outcome,
                reason,
                verdict,
                safe,
                controversial,
                unsafe,
                None if is_harm else record.get("refusal_probability"),
                "flagged" in record,
                record.get("flagged") if is_harm else None,
                start,
                end,
                prompt_hash,
                guard,
            )
        )
    return found


def write_judgements(path: Path, judgements: Iterable[Judgement]) -> None:
    """Write JSON lines; the file appears when it is whole."""
    with replacing(path) as part, part.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
        file.writelines(json.dumps(asdict(judgement), ensure_ascii=False) + "\n" for judgement in judgements)


def read_judgements(path: Path) -> list[Judgement]:
    """The judgements that `write_judgements` wrote.

    Raises:
        UserError: names the line and the field that is wrong.
        OSError: the file cannot be read.
    """
    with path.open(encoding="utf-8") as file:
        found = [_judgement(line, f"{path}: line {number}") for number, line in enumerate(file, 1) if line.strip()]
    if not found:
        raise UserError(f"{path} has no verdicts")
    return found


def _refusal(refusal: bool | None) -> str | None:
    return None if refusal is None else (Refusal.REFUSAL if refusal else Refusal.COMPLIANCE).value


def _judgement(line: str, place: str) -> Judgement:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{place} is not JSON: {one_line(error)}") from error
    names = [field.name for field in fields(Judgement)]
    if not isinstance(values, dict) or (missing := [name for name in names if name not in values]):
        lacks = f"it has no {missing[0]}" if isinstance(values, dict) else "it is no object"
        raise UserError(f"{place} is not a recorded verdict: {lacks}")
    task = _one_of(values["task"], tuple(Task), "task", place)
    _one_of(values["label"], _LABELS[Task(task)], "label", place)
    outcome = _one_of(values["outcome"], tuple(Outcome), "outcome", place)
    if outcome == Outcome.SCORED:
        _one_of(values["verdict"], _VERDICTS[Task(task)], "verdict", place)
    elif values["verdict"] is not None:
        raise UserError(f"{place}: verdict should be null where outcome is {outcome}")
    for name in names:
        if name.startswith("p_") and not _is_probability(values[name]):
            raise UserError(f"{place}: {name} should be null or from 0 to 1, found {shortened(values[name])}")
        if (name == "row" or name.endswith("_index") or name == "flagged") and not isinstance(values[name], int | None):
            raise UserError(f"{place}: {name} should be a whole number, found {shortened(values[name])}")
    for name in _TEXTS:
        if not isinstance(values[name], str):
            raise UserError(f"{place}: {name} should be a text, found {shortened(values[name])}")
    known = {name: values[name] for name in names}
    if not isinstance(values["categories"], list | None) or not _is_object(values["guard"]):
        raise UserError(f"{place}: categories should be a list, and guard an object as JSON text")
    categories = tuple(map(str, values["categories"] or ()))
    return Judgement(**{**known, "task": Task(task), "outcome": Outcome(outcome), "categories": categories})


def _one_of(value: Any, allowed: Sequence[str], name: str, place: str) -> str:
    if value not in list(allowed):
        raise UserError(f"{place}: {name} should be {', '.join(allowed)}, found {shortened(value)}")
    return str(value)


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _is_probability(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value is None or (is_number and 0 <= value <= 1 + 1e-6)
