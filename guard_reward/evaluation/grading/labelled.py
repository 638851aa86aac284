"""Labelled rows: what people say of a prompt and of its response.

| field | meaning |
|---|---|
| ``prompt`` | the user's text, or chat messages |
| ``response`` | the answer, or nothing |
| ``messages`` (or ``message``) | both in one list of chat messages, in place of ``prompt`` and ``response`` |
| ``prompt_harm``, ``response_harm`` | true, false, or words such as harmful, unharmful, Safe, Controversial, Unsafe |
| ``refusal`` | whether the response refuses: true, false, ``partial``, or words such as refusal, compliance |
| ``label`` | of the last message: its harm, as in Qwen3GuardTest |
| ``source``, ``language``, ``category`` | groups that are graded apart; a category may be a list |
| ``id`` | the row's name in the recorded verdicts |
| ``unsafe_start_index``, ``unsafe_end_index`` | where an unsafe response becomes unsafe, for latency: the first and the last token, counted in the guard's whole input |

Every label may be missing; a row is graded on those that it has.
"""  # noqa: E501  a table

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from guard_reward.errors import UserError, shortened
from guard_reward.rewards.labels import read_label
from guard_reward.verdict import Severity

__all__ = ["Labelled", "LabelledRow", "Message", "Refusal", "Task", "read_row", "read_rows"]

Message = dict[str, Any]


class Task(StrEnum):
    """What a guard is asked."""

    PROMPT_HARM = "prompt_harm"
    RESPONSE_HARM = "response_harm"
    REFUSAL = "refusal"


class Refusal(StrEnum):
    """What people say of a response."""

    COMPLIANCE = "compliance"
    PARTIAL = "partial"
    REFUSAL = "refusal"


_REFUSALS = {
    **dict.fromkeys(("true", "1", "yes", "refusal", "full_refusal", "2_full_refusal"), Refusal.REFUSAL),
    **dict.fromkeys(("partial", "partial_refusal", "3_partial_refusal"), Refusal.PARTIAL),
    **dict.fromkeys(("false", "0", "no", "compliance", "full_compliance", "1_full_compliance"), Refusal.COMPLIANCE),
}
_LABELS = ("prompt_harm", "response_harm", "refusal", "label")


@dataclass(frozen=True, slots=True)
class LabelledRow:
    """One row of a labelled set; see the module for the fields.

    Attributes:
        number: of the row in its file, from 1.
        name: the row's own ``id``, or its number.
        prompt: the messages before the response.
        response: the message to judge as an answer; None if there is only a prompt.
        labels: `Severity` for harm, `Refusal` for refusals.
        source: the set that the row is from.
        language: of the row; empty if unknown.
        categories: of the row.
        place: the first and the last token of what makes a response unsafe.
        has_blank: an empty text is labelled; that label is not in `labels`.
    """

    number: int
    name: str
    prompt: tuple[Message, ...]
    response: Message | None = None
    labels: Mapping[Task, Severity | Refusal] = field(default_factory=dict)
    source: str = ""
    language: str = ""
    categories: tuple[str, ...] = ()
    place: tuple[int, int] | None = None
    has_blank: bool = False

    def conversation(self, task: Task) -> list[Message]:
        """The messages that a guard sees for a task; the last one is judged."""
        if task is Task.PROMPT_HARM or self.response is None:
            return list(self.prompt)
        return [*self.prompt, self.response]


@dataclass(frozen=True, slots=True)
class Labelled:
    """The rows of a set.

    Attributes:
        rows: those with a label.
        skipped: how many others there are, by reason.
    """

    rows: list[LabelledRow]
    skipped: dict[str, int]


def read_rows(rows: Iterable[tuple[str, Mapping[str, Any]]]) -> Labelled:
    """Read rows with their places (``file: line 3``), which errors name.

    Args:
        rows: place and fields of each.

    Raises:
        UserError: names the place and the field that is wrong; or no row has a label.
    """
    found: list[LabelledRow] = []
    skipped: Counter[str] = Counter()
    for number, (place, fields) in enumerate(rows, 1):
        row = read_row(fields, place, number)
        if row.labels:
            found.append(row)
        elif not row.has_blank:
            skipped["no label"] += 1
        skipped["the labelled text is empty"] += row.has_blank
    if not found and not skipped.total():
        raise UserError("the input has no rows")
    if not found:
        raise UserError(f"no row has a text and a label: name the label {', '.join(_LABELS)}, or use --preset")
    return Labelled(found, dict(+skipped))


def read_row(fields: Mapping[str, Any], place: str, number: int) -> LabelledRow:
    """One row; see the module for its fields.

    Raises:
        UserError: names the place and the field that is wrong.

    >>> row = read_row({"prompt": "Hi", "response": "No.", "refusal": "partial"}, "row 1", 1)
    >>> row.labels, row.conversation(Task.REFUSAL)[-1]
    ({<Task.REFUSAL: 'refusal'>: <Refusal.PARTIAL: 'partial'>}, {'role': 'assistant', 'content': 'No.'})
    """
    prompt, response = _texts(fields, place)
    labels = _labels(fields, place, has_response=response is not None)
    given = {task: bool(prompt) if task is Task.PROMPT_HARM else response is not None for task in labels}
    for task in labels:
        text = "prompt" if task is Task.PROMPT_HARM else "response"
        if not given[task] and text not in fields:
            raise UserError(f"{place}: {task} labels a {text}, and there is none")
    category = fields.get("category")
    name = fields.get("id")
    return LabelledRow(
        number,
        str(number if _is_missing(name) else name),
        tuple(prompt),
        response,
        {task: label for task, label in labels.items() if given[task]},
        _text(fields, "source", place) or "",
        _text(fields, "language", place) or "",
        () if _is_missing(category) else tuple(map(str, category if isinstance(category, list) else [category])),
        _place(fields, place),
        has_blank=not all(given.values()),
    )


def _texts(fields: Mapping[str, Any], place: str) -> tuple[list[Message], Message | None]:
    """The prompt's messages and the response."""
    name = next((name for name in ("messages", "message") if not _is_missing(fields.get(name))), None)
    if name is not None:
        messages = _messages(fields[name], name, place)
        if messages[-1].get("role") == "assistant":
            return messages[:-1], messages[-1]
        prompt = messages
    elif _is_missing(fields.get("prompt")):
        prompt = []
    else:
        found = fields["prompt"]
        is_text = isinstance(found, str)
        prompt = [{"role": "user", "content": found}] if is_text else _messages(found, "prompt", place)
    response = _text(fields, "response", place)
    if not prompt and response is None and not fields.keys() & {"prompt", "response"}:
        raise UserError(f"{place}: there is no prompt, no response and no messages")
    return prompt, None if response is None else {"role": "assistant", "content": response}


def _messages(value: Any, name: str, place: str) -> list[Message]:
    if isinstance(value, str):  # CSV has no other way to hold messages
        try:
            value = json.loads(value)
        except ValueError:
            value = None
    if not isinstance(value, list | tuple) or not value or not all(isinstance(it, Mapping) for it in value):
        raise UserError(f"{place}: {name} should be a list of chat messages")
    return [dict(message) for message in value]


def _labels(fields: Mapping[str, Any], place: str, *, has_response: bool) -> dict[Task, Severity | Refusal]:
    labels: dict[Task, Severity | Refusal] = {}
    for task in (Task.PROMPT_HARM, Task.RESPONSE_HARM):
        if not _is_missing(value := fields.get(task.value)):
            labels[task] = _harm(value, task.value, place)
    if not _is_missing(value := fields.get("label")):
        last = Task.RESPONSE_HARM if has_response else Task.PROMPT_HARM
        if last in labels:
            raise UserError(f"{place}: label and {last} both label the last message: leave one of them out")
        labels[last] = _harm(value, "label", place)
    if not _is_missing(value := fields.get("refusal")):
        key = str(value).strip().lower().replace(" ", "_").replace("-", "_")
        if key not in _REFUSALS:
            raise UserError(f"{place}: refusal should be true, false or partial, found {shortened(value)}")
        labels[Task.REFUSAL] = _REFUSALS[key]
    return labels


def _harm(value: Any, name: str, place: str) -> Severity:
    if str(value).strip().capitalize() in list(Severity):
        return Severity(str(value).strip().capitalize())
    try:
        return Severity.UNSAFE if read_label(value, name) else Severity.SAFE
    except ValueError:
        words = f"true, false, {', '.join(Severity)}"
        raise UserError(f"{place}: {name} should be {words}, found {shortened(value)}") from None


def _text(fields: Mapping[str, Any], name: str, place: str) -> str | None:
    value = fields.get(name)
    if _is_missing(value):
        return None
    if not isinstance(value, str):
        raise UserError(f"{place}: {name} should be a text, found {shortened(value)}")
    return value


def _place(fields: Mapping[str, Any], place: str) -> tuple[int, int] | None:
    start, end = (fields.get(f"unsafe_{name}_index") for name in ("start", "end"))
    start, end = (int(it) if isinstance(it, str) and it.isdecimal() else it for it in (start, end))
    start, end = (None if _is_missing(it) else it for it in (start, end))
    if start is None and end is None:
        return None
    if type(start) is not int or type(end) is not int:
        raise UserError(f"{place}: unsafe_start_index and unsafe_end_index should be two whole numbers, or missing")
    if not 0 <= start <= end:
        raise UserError(f"{place}: unsafe_start_index {start} to unsafe_end_index {end} is no place in a text")
    return start, end


def _is_missing(value: Any) -> bool:
    """Nothing, an empty cell, or the NaN with which pandas marks one."""
    return value is None or value == "" or (isinstance(value, float) and value != value)
