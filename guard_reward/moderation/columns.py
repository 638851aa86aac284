"""A table's row → the conversation that a guard judges, or the reason why it cannot be judged."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from guard_reward.errors import UserError
from guard_reward.verdict import Outcome, Unjudged

__all__ = ["Judged", "TextColumns", "choose_columns"]

Judged = Literal["prompt", "response"]
"""Whether a row's prompt is judged, or its response to the prompt."""


@dataclass(frozen=True)
class TextColumns:
    """The columns that hold a row's conversation: `messages`, or `prompt` and, to judge responses, `response`."""

    prompt: str | None = None
    response: str | None = None
    messages: str | None = None

    @property
    def judged(self) -> str:
        """What is judged, in words."""
        if self.messages is not None:
            return f"the last message of '{self.messages}'"
        return f"'{self.prompt}'" if self.response is None else f"'{self.response}' as the response to '{self.prompt}'"

    def conversation(self, row: Mapping[str, Any]) -> list[dict[str, Any]] | Unjudged:
        """A row's conversation.

        | in the row | result |
        |---|---|
        | the judged text is missing, null, or has no letter and no digit | ``empty`` |
        | the prompt of a judged response is missing, null or blank | ``guard_error`` |
        | a prompt or response that is not text | ``guard_error`` |
        | messages that are not a list of chat messages (or its JSON text) | ``guard_error`` |
        | text with half a surrogate pair, which tokenizers cannot read | ``guard_error`` |

        >>> TextColumns(prompt="prompt").conversation({"prompt": "Hello?"})
        [{'role': 'user', 'content': 'Hello?'}]
        >>> TextColumns(prompt="prompt", response="response").conversation({"prompt": "Hello?", "response": "…"})
        Unjudged(outcome=<Outcome.EMPTY: 'empty'>, text='', reason="column 'response' has no letter and no digit")
        """
        try:
            conversation = self._from_messages(row) if self.messages is not None else self._from_texts(row)
            _check_encodable(conversation)
        except _Empty as error:
            return Unjudged(Outcome.EMPTY, reason=str(error))
        except ValueError as error:
            return Unjudged(Outcome.GUARD_ERROR, reason=str(error))
        return conversation

    def _from_texts(self, row: Mapping[str, Any]) -> list[dict[str, Any]]:
        assert self.prompt is not None
        if self.response is None:
            return [{"role": "user", "content": _judged_text(row, self.prompt)}]
        response = _judged_text(row, self.response)
        prompt = _text(row, self.prompt)
        if not (prompt or "").strip():
            state = "null" if prompt is None else "blank"
            raise ValueError(f"column '{self.prompt}' is {state}: a response is judged with its prompt")
        return [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]

    def _from_messages(self, row: Mapping[str, Any]) -> list[dict[str, Any]]:
        from guard_reward.conversation import normalize, turn_text
        from guard_reward.rollout import has_content

        where = f"column '{self.messages}'"
        messages = row.get(self.messages or "")
        if isinstance(messages, str):
            try:
                messages = json.loads(messages)
            except ValueError as error:
                raise ValueError(f"{where} is text, but not JSON: {error}") from error
        if messages is None or messages == []:
            raise _Empty(f"{where} holds no messages")
        if not isinstance(messages, Sequence):
            raise ValueError(f"{where} should be a list of messages, found {type(messages).__name__}")
        try:
            normalize(messages)
            text = turn_text(messages[-1], len(messages) - 1)
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"{where}: {error}") from error
        if not has_content(text):
            raise _Empty(f"{where}: the last message has no letter and no digit")
        return list(messages)


class _Empty(Exception):
    """There is no text to judge."""


def _text(row: Mapping[str, Any], column: str) -> str | None:
    text = row.get(column)
    if text is not None and not isinstance(text, str):
        hint = "; for chat messages use the messages column" if isinstance(text, list | dict) else ""
        raise ValueError(f"column '{column}' should be text, found {type(text).__name__}{hint}")
    return text


def _judged_text(row: Mapping[str, Any], column: str) -> str:
    from guard_reward.rollout import has_content

    text = _text(row, column)
    if text is None:
        raise _Empty(f"column '{column}' is {'null' if column in row else 'missing'}")
    if not has_content(text):
        raise _Empty(f"column '{column}' has no letter and no digit")
    return text


def _check_encodable(conversation: list[dict[str, Any]]) -> None:
    try:
        json.dumps(conversation, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"the text is not Unicode: {error.reason}") from error


def choose_columns(
    columns: Sequence[str],
    *,
    prompt: str | None = None,
    response: str | None = None,
    messages: str | None = None,
    judge: Judged | None = None,
) -> TextColumns:
    """Decide which of a table's columns hold the conversation.

    By default the columns are ``prompt`` and ``response``, else ``messages``. Responses are judged if there is a
    response column, unless `judge` says otherwise; with messages, the last role decides.

    Raises:
        UserError: the table does not have a column, or the arguments contradict each other.

    >>> choose_columns(["id", "prompt", "response"], judge="prompt")
    TextColumns(prompt='prompt', response=None, messages=None)
    """
    if messages is None and prompt is None and response is None and "prompt" not in columns and "messages" in columns:
        messages = "messages"
    if messages is not None:
        if prompt is not None or response is not None:
            raise UserError("give either the messages column or the prompt and response columns, not both")
        if judge is not None:
            raise UserError(f"judge={judge!r} does not go with messages: the role of the last one decides")
        _require(columns, messages, "messages")
        return TextColumns(messages=messages)
    prompt = prompt or "prompt"
    _require(columns, prompt, "prompt")
    if judge == "prompt":
        if response is not None:
            raise UserError(f"judge='prompt' does not read the response column {response!r}: leave one of them out")
        return TextColumns(prompt=prompt)
    if response is None and judge is None and "response" not in columns:
        return TextColumns(prompt=prompt)
    response = response or "response"
    _require(columns, response, "response")
    return TextColumns(prompt=prompt, response=response)


def _require(columns: Sequence[str], name: str, role: str) -> None:
    if name not in columns:
        have = ", ".join(map(repr, columns)) or "none"
        raise UserError(f"there is no {role} column {name!r}; the input has {have} (see --{role}-column)")
