"""Chat messages in any of the shapes in which libraries pass them, and what each of them shows.

`as_messages` brings messages into one shape; `split_message` says what a user sees of one. Of an assistant's message
that is every field but its reasoning and its metadata:

| field | shown |
|---|---|
| ``content``: text, or a list of text parts | the text, the parts joined without a separator |
| what a text part has beside its text (but for metadata, numbers and ``cache_control``) | behind it, as JSON |
| a part that is not text (an image) | `ValueError`: a text guard cannot judge it |
| ``refusal`` | its text, in a line of its own |
| ``tool_calls``, ``function_call`` | ``[tool call] name(arguments)`` lines, each different call once |
| what a call has beside name and arguments (but for an id, index or type beside its function) | behind it, as JSON |
| a call in another shape | ``[tool call]`` and all of it, as JSON |
| ``reasoning_content``, ``reasoning``, ``thinking`` | all of them are the reasoning |
| ``name``, ``id``, ``weight`` and the other fields in `METADATA` | not at all, nor a number, true, false or null |
| any other field that is not empty | ``[field] value``, as JSON if it is not text |

Of other messages, templates show the content; so do we.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

__all__ = ["METADATA", "MessageParts", "as_messages", "message_text", "split_message"]

_ROLES = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human"), "user"),
    **dict.fromkeys(("assistant", "gpt", "model", "ai", "bot", "function_call"), "assistant"),
    **dict.fromkeys(("tool", "function", "ipython", "observation"), "tool"),
}
_PART_TEXTS = ("text", "refusal")
_TEXT_PARTS = ("text", "input_text", "output_text")  # in chat messages; in OpenAI's Responses API
_REASONING = ("reasoning_content", "reasoning", "thinking")
_CALLS = ("tool_calls", "function_call")
_PLAIN = {"role", "content"}
_CHAT_ROLES = ("system", "user", "assistant", "tool")
_READ = ("role", "content", "refusal", *_REASONING, *_CALLS)

_API_METADATA = (
    *("name", "id", "index", "type", "status", "tool_call_id", "model", "created", "created_at", "timestamp"),
    *("finish_reason", "stop_reason", "usage", "logprobs", "token_ids", "prompt_token_ids"),
)
_DATASET_METADATA = (
    *("weight", "train", "loss", "language", "country", "hashed_ip", "header", "state", "toxic", "redacted"),
    "turn_identifier",
)
METADATA = frozenset((*_API_METADATA, *_DATASET_METADATA))
"""Fields that say something about a message and are not part of it, in chat APIs and in public data sets."""

_CALL_METADATA = frozenset(("id", "type", "index"))


@dataclass(frozen=True, slots=True)
class MessageParts:
    """What a message consists of.

    Attributes:
        reasoning: of its reasoning fields; None if they are empty.
        content: the text of its content.
        rest: what its other fields show, in lines.
        written: `rest` without what the library adds: labels, and the names of functions.
    """

    reasoning: str | None
    content: str
    rest: str
    written: str


def as_messages(messages: Any, name: str = "", *, default_role: str | None = None) -> list[Mapping[str, Any]]:
    """Chat messages in one shape: mappings with a ``role`` of system, user, assistant or tool, and a ``content``.

    | given | read as |
    |---|---|
    | a list, tuple, numpy array or pandas series | a list |
    | ``{"from": …, "value": …}`` (ShareGPT) | ``{"role": …, "content": …}`` |
    | roles in any case | in lower case |
    | developer | system |
    | human | user |
    | gpt, model, ai, bot | assistant |
    | function_call | assistant, with the content as a tool call |
    | function, ipython, observation | tool |

    Args:
        messages: of one conversation.
        name: what errors call them.
        default_role: of a message that has none, or one that is not in the table; by default that is an error.

    Raises:
        ValueError: something else than chat messages; names the message and the fault.

    >>> as_messages([{"from": "human", "value": "Hi"}])
    [{'role': 'user', 'content': 'Hi'}]
    """
    messages = _as_list(messages)
    if not isinstance(messages, Sequence) or isinstance(messages, str | bytes):
        raise ValueError(
            f"the {name or 'conversation'} should be text or a list of messages, found {type(messages).__name__}"
        )
    return [
        message if _is_in_shape(message) else _as_message(message, f"{name} message {index}".lstrip(), default_role)
        for index, message in enumerate(messages)
    ]


def _is_in_shape(message: Any) -> bool:
    """Whether nothing is to be done; so it is for nearly all messages, and they are read several times."""
    if type(message) is not dict or "content" not in message:
        return False
    role = message.get("role")
    return isinstance(role, str) and role in _CHAT_ROLES


def _as_message(message: Any, where: str, default_role: str | None) -> Mapping[str, Any]:
    if not isinstance(message, Mapping):
        raise ValueError(f"{where}: should be a mapping with 'role' and 'content', found {type(message).__name__}")
    found = _first(message, "role", "from")
    name = found.strip().lower() if isinstance(found, str) else ""
    if name not in _ROLES and default_role is not None:
        name = default_role
    if name not in _ROLES:
        raise ValueError(f"{where}: 'role' should be one of {', '.join(_ROLES)}, found {found!r}")
    role, is_call = _ROLES[name], name == "function_call"
    if message.get("role") == role and "content" in message and not is_call:
        return message
    renamed = {"from", "value"} if "content" not in message and "value" in message else {"from"}
    rest = {key: value for key, value in message.items() if key not in renamed}
    content = _first(message, "content", "value")
    if is_call:
        return {**rest, "role": role, "content": None, "tool_calls": [content, *_calls(message.get("tool_calls"))]}
    return {**rest, "role": role, "content": content}


def _first(message: Mapping[str, Any], *keys: str) -> Any:
    """The first of the fields that is there."""
    return next((message[key] for key in keys if not _is_nothing(message.get(key))), None)


def split_message(message: Mapping[str, Any], index: int = 0) -> MessageParts:
    """What a message consists of (table above).

    Args:
        message: as `as_messages` returns it.
        index: of the message, for errors.

    Raises:
        ValueError: content or reasoning that is not text; names the message.

    >>> split_message({"role": "assistant", "content": "", "tool_calls": [{"name": "now", "arguments": {}}]}).rest
    '[tool call] now({})'
    """
    if message.keys() == _PLAIN and isinstance(message["content"], str):  # nearly all messages
        return MessageParts(None, message["content"], "", "")
    reasoning = dict.fromkeys(message_text(message[key], index, key) for key in _REASONING if key in message)
    lines = list(_lines(message, index))
    return MessageParts(
        reasoning="\n".join(text for text in reasoning if text) or None,
        content=message_text(message.get("content"), index),
        rest="\n".join(f"{label}{text}" for label, text, _ in lines),
        written="\n".join(written for *_, written in lines),
    )


def _lines(message: Mapping[str, Any], index: int) -> Iterator[tuple[str, str, str]]:
    """Label, text, and what of the text the message's author wrote, of the fields beside content and reasoning."""
    if refusal := message_text(message.get("refusal"), index, "refusal"):
        yield "", refusal, refusal
    calls = dict.fromkeys(_call_text(call) for key in _CALLS for call in _calls(message.get(key)))
    for text, written in calls:
        yield "[tool call] ", text, written
    if message.get("role") != "assistant":
        return
    for key, value in message.items():
        if key not in _READ and _says_something(key, value):
            yield f"[{key}] ", _as_json(value), _as_json(value)


def message_text(content: Any, index: int = 0, field: str = "content") -> str:
    """The text of a message's content: a string, a list of text parts, or None.

    >>> message_text([{"type": "text", "text": "Hello, "}, {"type": "text", "text": "you."}])
    'Hello, you.'
    """
    content = _as_list(content)
    if isinstance(content, str):
        return content
    if _is_nothing(content):
        return ""
    if isinstance(content, Sequence) and not isinstance(content, bytes):
        return "".join(_part_text(part, index, field) for part in content)
    kind = type(content).__name__
    raise ValueError(f"message {index}: {field!r} should be text or a list of text parts, found {kind}")


def _part_text(part: Any, index: int, field: str) -> str:
    if isinstance(part, str):
        return part
    fields = part if isinstance(part, Mapping) else {}
    kind = fields.get("type") if fields else type(part).__name__
    texts = [fields[key] for key in _PART_TEXTS if isinstance(fields.get(key), str)]
    if not texts or kind not in (None, "refusal", *_TEXT_PARTS):
        raise ValueError(f"message {index}: the guard judges text, but a part of {field!r} is of type {kind!r}")
    read = ("type", "cache_control", *_PART_TEXTS)
    extra = {key: value for key, value in fields.items() if key not in read and _says_something(key, value)}
    return " ".join(filter(None, [*texts, _as_json(extra) if extra else ""]))


def _calls(calls: Any) -> Sequence[Any]:
    calls = _as_list(calls)
    if _is_nothing(calls):
        return ()
    return calls if isinstance(calls, Sequence) and not isinstance(calls, str) else [calls]


def _call_text(call: Any) -> tuple[str, str]:
    """A call as text, and without the function's name."""
    function = call.get("function", call) if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or "name" not in function:
        text = _as_json(call)
        return text, text
    arguments = function.get("arguments")
    shown = "" if _is_nothing(arguments) and arguments != {} else _as_json(arguments)
    extra = {key: value for key, value in _beside(call, function).items() if not _is_nothing(value)}
    more = f" {_as_json(extra)}" if extra else ""
    return f"{function['name']}({shown}){more}", shown + more


def _beside(call: Mapping[str, Any], function: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a call that nobody expects there.

    An API puts a call's id beside the function; what is inside the function, the policy may have written.
    """
    outside = {} if call is function else call
    beside = {key: value for key, value in outside.items() if key != "function" and key not in _CALL_METADATA}
    return {**beside, **{key: value for key, value in function.items() if key not in ("name", "arguments")}}


def _says_something(key: str, value: Any) -> bool:
    """Whether a field that nobody expects holds something to see: no metadata, and no number."""
    return key not in METADATA and not isinstance(_as_list(value), bool | int | float) and not _is_nothing(value)


def _as_list(value: Any) -> Any:
    """Arrays of numpy, pandas, pyarrow and torch as lists; anything else as it is."""
    return value.tolist() if hasattr(value, "tolist") else value


def _is_nothing(value: Any) -> bool:
    """Whether a field is empty: null, not a number (as pandas fills gaps), or without an element."""
    if value is None or isinstance(value, str):  # nearly always, and quicker to see than the rest
        return not value
    value = _as_list(value)
    is_gap = value is None or (isinstance(value, float) and math.isnan(value))
    return is_gap or (isinstance(value, Sequence | Mapping) and not value)


def _as_json(value: Any) -> str:
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False, default=_json_value)
    except (ValueError, TypeError, RecursionError):  # deeper than JSON can be, in a circle, or with odd keys
        return " ".join(_leaves(value))


def _json_value(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _leaves(value: Any) -> Iterator[str]:
    """All texts, numbers and keys of a value of any depth, in order."""
    waiting, seen = [value], set[int]()
    while waiting:
        value = _as_list(waiting.pop())
        if isinstance(value, str) or not isinstance(value, Mapping | Sequence | AbstractSet):
            yield str(value)
        elif id(value) not in seen:
            seen.add(id(value))
            inner = [item for pair in value.items() for item in pair] if isinstance(value, Mapping) else list(value)
            waiting += reversed(inner)
