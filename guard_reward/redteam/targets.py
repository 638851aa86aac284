"""What is attacked: replies to prompts, of a few kinds, read from a file.

| field | meaning |
|---|---|
| ``prompt`` or ``messages`` | what the reply answers: a text, or chat messages |
| ``reply`` (``response`` or ``completion``) | the plain reply: a text, with ``<think>`` in front if the policy thinks |
| ``thinking`` | its thinking, if that is apart |
| ``kind`` | a `Kind`; without it the guard decides: a reply that it calls Unsafe is ``unsafe``, one that refuses is ``refusal``, a blank one is ``empty``; others are left out |

The files that ``guard-reward evaluate`` writes have these fields.
"""  # noqa: E501  a table

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, TypeVar

from guard_reward.errors import UserError, one_line, shortened
from guard_reward.evaluation.grading.row_files import file_rows
from guard_reward.messages import as_messages
from guard_reward.redteam.attack import Draft, Material
from guard_reward.thinking import split_thinking

__all__ = ["ATTACKED", "Kind", "Target", "material_of", "read_prompts", "read_target", "read_targets", "sample_targets"]

Row = TypeVar("Row")

_REPLIES = ("reply", "response", "completion")


class Kind(StrEnum):
    """What a plain reply is."""

    UNSAFE = "unsafe"
    """It does harm, and the guard says so."""

    REFUSAL = "refusal"
    """It refuses."""

    GARBAGE = "garbage"
    """It says nothing that a reader could use."""

    EMPTY = "empty"
    """There is no text."""

    HARMLESS = "harmless"
    """It helps. It is not attacked: attacks use it, and its prompt, as `Material`."""


ATTACKED = (Kind.UNSAFE, Kind.REFUSAL, Kind.GARBAGE, Kind.EMPTY)
"""The kinds that are attacked."""


@dataclass(frozen=True, slots=True)
class Target:
    """One reply to attack.

    Attributes:
        prompt: chat messages.
        draft: the plain reply.
        kind: None if the guard decides.
    """

    prompt: tuple[Mapping[str, Any], ...]
    draft: Draft
    kind: Kind | None = None

    @property
    def asked(self) -> str:
        """The text of the last message of the prompt."""
        return str(self.prompt[-1].get("content", ""))


def read_targets(path: Path) -> list[Target]:
    """The replies of a file (JSON lines, JSON, CSV, Parquet); a row that occurs twice is read once.

    Args:
        path: of the file; see the module for its fields.

    Raises:
        UserError: names the line and the field that is wrong; or there is no row.
        OSError: the file cannot be read.
    """
    return _different(path, read_target)


def read_prompts(path: Path) -> list[tuple[Mapping[str, Any], ...]]:
    """The prompts of such a file, each once, as chat messages; replies are not needed.

    Raises:
        UserError: names the line that has no prompt; or there is no row.
        OSError: the file cannot be read.
    """
    return _different(path, _prompt)


def _different(path: Path, read: Callable[[Mapping[str, Any], str], Row]) -> list[Row]:
    found: dict[str, Row] = {}
    for place, fields in file_rows(path):
        row = read(fields, place)
        found.setdefault(repr(row), row)
    if not found:
        raise UserError(f"{path} has no rows")
    return list(found.values())


def sample_targets() -> list[Target]:
    """Sample replies of this package, in English, none of which tells anybody how to do harm."""
    with as_file(files("guard_reward.redteam") / "sample_replies.jsonl") as path:
        return read_targets(path)


def read_target(fields: Mapping[str, Any], place: str) -> Target:
    """One row.

    Args:
        fields: of the row; see the module.
        place: of the row, for errors.

    Raises:
        UserError: names the place and the field that is wrong.

    >>> target = read_target({"prompt": "Hi", "reply": "<think>Greet.</think>Hello!"}, "row 1")
    >>> target.asked, target.draft.thinking, target.draft.answer, target.kind
    ('Hi', 'Greet.', 'Hello!', None)
    """
    thinking, answer = _reply(fields, place)
    kind = _kind(fields.get("kind"), place)
    if kind is None and not answer.strip():
        kind = Kind.EMPTY
    return Target(_prompt(fields, place), Draft(answer, thinking), kind)


def material_of(targets: Sequence[Target]) -> Material:
    """Texts of the targets' own world: the first harmless reply and its prompt, and the first refusal.

    >>> row = {"prompt": "Hi", "reply": "I will not.", "kind": "refusal"}
    >>> material_of([read_target(row, "row 1")]).refusal
    'I will not.'
    """
    given: dict[str, str] = {}
    for target in targets:
        if target.kind is Kind.HARMLESS and "reply" not in given:
            given |= {"request": target.asked, "reply": target.draft.answer}
        if target.kind is Kind.REFUSAL and "refusal" not in given:
            given["refusal"] = target.draft.answer
    return Material(**given)


def _prompt(fields: Mapping[str, Any], place: str) -> tuple[Mapping[str, Any], ...]:
    name = "messages" if fields.get("prompt") is None and "messages" in fields else "prompt"
    value = fields.get(name)
    if value is None:
        raise UserError(f"{place} has no prompt: give prompt (a text or chat messages) or messages")
    try:
        messages = [{"role": "user", "content": value}] if isinstance(value, str) else as_messages(value, name)
    except ValueError as error:
        raise UserError(f"{place}: {one_line(error)}") from error
    if not messages:
        raise UserError(f"{place}: {name} has no message")
    if messages[-1]["role"] == "assistant":
        raise UserError(f"{place}: {name} ends in a message of the assistant: put it into reply")
    return tuple(dict(message) for message in messages)


def _reply(fields: Mapping[str, Any], place: str) -> tuple[str | None, str]:
    """Thinking and answer."""
    name = next((name for name in _REPLIES if fields.get(name) is not None), None)
    if name is None:
        raise UserError(f"{place} has no reply: give {' or '.join(_REPLIES)}, a text")
    thinking = fields.get("thinking")
    for field, value in ((name, fields[name]), ("thinking", thinking)):
        if value is not None and not isinstance(value, str):
            raise UserError(f"{place}: {field} should be a text, found {shortened(value)}")
    return split_thinking(fields[name]) if thinking is None else (thinking, fields[name])


def _kind(value: Any, place: str) -> Kind | None:
    if value is None:
        return None
    try:
        return Kind(value)
    except ValueError:
        raise UserError(f"{place}: kind should be {', '.join(Kind)}, found {shortened(value)}") from None
