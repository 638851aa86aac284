"""A table's row → the conversation that a guard judges, or the reason why it cannot be judged.

What is judged depends on the columns alone, which are chosen once per file. No row can choose it: text is always judged
as text, even if it is JSON, and in a response of several messages nothing that the assistant says is left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from guard_reward.conversation import normalize, turn_text
from guard_reward.messages import as_messages, split_message
from guard_reward.moderation.json_text import JsonLimitError, parse_json
from guard_reward.rollout import has_content
from guard_reward.verdict import Outcome, Unjudged

__all__ = ["TextColumns"]

_Messages = list[Mapping[str, Any]]
_ASKING = ("user", "system")


@dataclass(frozen=True)
class TextColumns:
    """The columns that hold a row's conversation.

    | columns | judged |
    |---|---|
    | ``prompt`` | the prompt, which is text, or messages of which the last one is the user's |
    | ``prompt`` and ``response`` | all of the response, which is text or messages |
    | ``response`` | all of a text; of messages the last answer: what follows the last user's or system's message |
    | ``messages`` | the last message |

    Messages in ``response`` may begin with the prompt's. If the prompt's last message is the assistant's, the response
    continues it, and both are judged as one text. An answer of several messages (tool calls and their results) is
    judged as one text.
    """

    prompt: str | None = None
    response: str | None = None
    messages: str | None = None

    @property
    def judged(self) -> str:
        """What is judged, in words."""
        if self.messages is not None:
            return f"the last message of {self.messages!r}"
        if self.response is None:
            return repr(self.prompt)
        if self.prompt is None:
            return f"the last response in {self.response!r}"
        return f"{self.response!r} as the response to {self.prompt!r}"

    def conversation(self, row: Mapping[str, Any]) -> list[Mapping[str, Any]] | Unjudged:
        """A row's conversation; its last message is the one to judge.

        | in the row | result |
        |---|---|
        | the judged text is missing, null, or has no letter and no digit | ``empty`` |
        | the prompt of a judged response is missing, null or blank | ``guard_error`` |
        | a prompt or response that is neither text nor chat messages | ``guard_error`` |
        | a response without an answer; a judged prompt whose last message is not the user's | ``guard_error`` |
        | messages that are not a list of chat messages (or its JSON text) | ``guard_error`` |
        | text with half a surrogate pair, which tokenizers cannot read | ``guard_error`` |

        >>> TextColumns(prompt="prompt").conversation({"prompt": "Hello?"})
        [{'role': 'user', 'content': 'Hello?'}]
        >>> TextColumns(prompt="prompt", response="response").conversation({"prompt": "Hello?", "response": "…"})
        Unjudged(outcome=<Outcome.EMPTY: 'empty'>, text='', reason="column 'response' has no letter and no digit")
        """
        try:
            conversation = self._read(row)
            _check_encodable(conversation)
        except _Empty as error:
            return Unjudged(Outcome.EMPTY, reason=str(error))
        except ValueError as error:
            return Unjudged(Outcome.GUARD_ERROR, reason=str(error))
        return conversation

    def _read(self, row: Mapping[str, Any]) -> _Messages:
        if self.messages is not None:
            return _last_message(_from_json(row.get(self.messages), self.messages), self.messages)
        if self.response is None:
            assert self.prompt is not None
            return _prompt(row, self.prompt)
        response = _response(row, self.response)
        if self.prompt is None:
            start = _after_last_question(response)
            return _with_answer(response[:start], response[start:], self.response)
        prompt = _asked(row, self.prompt)
        if _same_beginning(response, prompt):
            response = response[len(prompt) :]
        start = _first_answer(response)
        return _with_answer([*prompt, *response[:start]], response[start:], self.response)


class _Empty(Exception):
    """There is no text to judge."""


def _from_json(messages: Any, column: str) -> Any:
    """The value of a messages column, which a CSV file carries as JSON text."""
    if not isinstance(messages, str):
        return messages
    try:
        return parse_json(messages)
    except JsonLimitError as error:
        raise ValueError(f"column {column!r} {error}") from error
    except ValueError as error:
        raise ValueError(f"column {column!r} is text, but not JSON: {error}") from error


def _last_message(messages: Any, column: str) -> _Messages:
    """Messages of which the last one has something to judge."""
    if messages is None or messages == []:
        raise _Empty(f"column {column!r} holds no messages")
    if not isinstance(messages, Sequence) or isinstance(messages, str):
        raise ValueError(f"column {column!r} should be a list of messages, found {type(messages).__name__}")
    conversation = _checked(messages, column)
    _check_content(conversation[-1:], f"column {column!r}: the last message")
    return conversation


def _prompt(row: Mapping[str, Any], column: str) -> _Messages:
    """A prompt to judge."""
    messages = _messages(row, column, "user")
    if isinstance(row[column], str):
        _check_content(messages, f"column {column!r}")
        return messages
    if messages[-1]["role"] not in _ASKING:
        raise ValueError(f"column {column!r}: the last message of a prompt should be the user's")
    return _last_message(messages, column)


def _asked(row: Mapping[str, Any], column: str) -> _Messages:
    """The prompt of a response to judge."""
    try:
        messages = _messages(row, column, "user")
        if not any(turn_text(message).strip() for message in messages):
            raise _Empty(f"column {column!r} is blank")
    except _Empty as error:
        raise ValueError(f"{error}: a response is judged with its prompt") from None
    return messages


def _response(row: Mapping[str, Any], column: str) -> _Messages:
    """The messages of a response to judge."""
    messages = _messages(row, column, "assistant")
    if isinstance(row[column], str):
        _check_content(messages, f"column {column!r}")
    return messages


def _messages(row: Mapping[str, Any], column: str, role: str) -> _Messages:
    """A column's value as messages: a text is one message of `role`."""
    value = row.get(column)
    if value is None:
        raise _Empty(f"column {column!r} is {'null' if column in row else 'missing'}")
    if isinstance(value, str):
        return [{"role": role, "content": value}]
    if isinstance(value, Mapping):
        value = [value]
    if not isinstance(value, Sequence) or isinstance(value, bytes):
        raise ValueError(f"column {column!r} should be text or a list of messages, found {type(value).__name__}")
    if not value:
        raise _Empty(f"column {column!r} holds no messages")
    return _checked(value, column)


def _checked(value: Any, column: str) -> _Messages:
    """The messages, which the guard will be able to read."""
    try:
        messages = as_messages(value)
        normalize(messages)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"column {column!r}: {error}") from error
    return messages


def _with_answer(context: _Messages, answer: _Messages, column: str) -> _Messages:
    """The conversation whose last message is the whole answer."""
    if not answer:
        raise ValueError(f"column {column!r} holds no answer: there is none after the user's last message")
    begun = ""
    if context and context[-1]["role"] == "assistant" and not split_message(context[-1]).rest:
        *context, beginning = context
        begun = turn_text(beginning)
    text = "\n".join(filter(None, map(turn_text, answer)))
    _check_content(answer, f"column {column!r}")
    if len(answer) == 1 and not begun:
        return [*context, *answer]  # unchanged: the guard knows more of a message than its text
    return [*context, {"role": "assistant", "content": begun + text}]


def _after_last_question(messages: _Messages) -> int:
    """The index behind the last message of the user's or the system's."""
    return max((index for index, message in enumerate(messages, start=1) if message["role"] in _ASKING), default=0)


def _first_answer(messages: _Messages) -> int:
    """The index of the first message that is neither the user's nor the system's."""
    answers = (index for index, message in enumerate(messages) if message["role"] not in _ASKING)
    return next(answers, len(messages))


def _same_beginning(messages: _Messages, prompt: _Messages) -> bool:
    def keys(messages: _Messages) -> list[tuple[str, str]]:
        roles = ("user" if message["role"] in _ASKING else message["role"] for message in messages)
        return [(role, turn_text(message).strip()) for role, message in zip(roles, messages, strict=True)]

    return len(messages) >= len(prompt) and keys(messages[: len(prompt)]) == keys(prompt)


def _check_content(messages: _Messages, where: str) -> None:
    """Check that somebody wrote something: labels that the library adds are not content."""
    parts = [split_message(message) for message in messages]
    if not any(has_content(f"{part.reasoning or ''}{part.content}{part.written}") for part in parts):
        raise _Empty(f"{where} has no letter and no digit")


def _check_encodable(conversation: _Messages) -> None:
    try:
        json.dumps(conversation, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"the text is not Unicode: {error.reason}") from error
    except RecursionError as error:
        raise ValueError("the messages are nested too deeply") from error
