"""Conversations as a guard sees them: plain user / assistant / system turns of text.

Chat messages come in more shapes than a guard's template understands, and Qwen3Guard's template silently drops the
rest. `normalize` rewrites a conversation so that nothing is dropped. A conversation that the template shows in full
comes back unchanged.

| in the conversation | what the guard sees |
|---|---|
| text, or a list of text parts | the text, the parts joined without a separator |
| a part that is not text (an image) | `ValueError`: a text guard cannot judge it |
| no content (``None``), with or without tool calls | an empty text (followed by the calls) |
| ``reasoning_content``, ``reasoning`` or ``thinking`` | ``<think>\\n…\\n</think>\\n\\n`` before the content |
| ``tool_calls`` or ``function_call`` | ``[tool call] name(arguments)`` lines after the content |
| a call in another shape | ``[tool call]`` and all of it, as JSON |
| a tool's message | ``[tool result] …`` at the end of the assistant turn before it (else a new assistant turn) |
| a leading system message before a user's | unchanged: the template shows it in the first user turn |
| several leading system messages | one, joined by a blank line |
| another system message | ``[system] …`` at the beginning of the next user turn (else a new user turn) |
| an assistant's message in front | an empty user turn before it |
| role ``developer`` / ``function``, ``ipython`` | as ``system`` / as ``tool`` |
| any other role | `ValueError` |
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from guard_reward.thinking import joined

__all__ = ["Message", "Turns", "message_text", "normalize", "split_message", "turn_text"]

Message = dict[str, str]
"""One turn: ``{"role": "user" | "assistant" | "system", "content": text}``."""


class Turns(list[Message]):
    """Turns that are already normal; `normalize` returns them as they are."""


_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
    "ipython": "tool",
}
_TEXT_PARTS = ("text", "input_text", "output_text")  # in chat messages; in OpenAI's Responses API
_REASONING_KEYS = ("reasoning_content", "reasoning", "thinking")


def normalize(messages: Sequence[Mapping[str, Any]], *, shows_system: bool = True) -> Turns:
    """Turn chat messages into turns of text that a guard's template shows completely (table above).

    Args:
        messages: the conversation.
        shows_system: whether the template shows a leading system message; if not, it is treated like a later one.

    Raises:
        ValueError: an empty conversation, an unknown role, or content that is not text; names the message.

    >>> normalize([{"role": "user", "content": "2+2?"}, {"role": "tool", "content": "4"}])
    [{'role': 'user', 'content': '2+2?'}, {'role': 'assistant', 'content': '[tool result] 4'}]
    """
    if isinstance(messages, Turns) and messages and (shows_system or messages[0]["role"] != "system"):
        return messages
    if not messages:
        raise ValueError("a conversation needs at least one message, this one has none")
    turns = Turns()
    system: list[str] = []  # system texts that wait for the next user turn
    for index, message in enumerate(messages):
        role = _role(message, index)
        text = turn_text(message, index)
        if role == "system":
            system.append(text)
        elif role == "user":
            _add_system(turns, system, text, shows_system=shows_system)
        else:
            _flush_system(turns, system)
            if not turns:
                turns.append({"role": "user", "content": ""})
            if role == "tool" and turns[-1]["role"] == "assistant":
                turns[-1] = {"role": "assistant", "content": f"{turns[-1]['content']}\n{text}".lstrip("\n")}
            else:
                turns.append({"role": "assistant", "content": text})
    _flush_system(turns, system)
    return turns


def _add_system(turns: list[Message], system: list[str], text: str, *, shows_system: bool) -> None:
    """Append a user turn; system texts before it go where the template shows them."""
    if system and not turns and shows_system:
        turns.append({"role": "system", "content": "\n\n".join(system)})
    elif system:
        text = "\n\n".join([*(f"[system] {part}" for part in system), text])
    turns.append({"role": "user", "content": text})
    system.clear()


def _flush_system(turns: list[Message], system: list[str]) -> None:
    """Make a user turn of system texts that no user turn follows."""
    if system:
        turns.append({"role": "user", "content": "\n\n".join(f"[system] {part}" for part in system)})
        system.clear()


def _role(message: Mapping[str, Any], index: int) -> str:
    role = message.get("role") if isinstance(message, Mapping) else None
    if not isinstance(role, str) or role not in _ROLES:
        raise ValueError(f"message {index}: 'role' should be one of {', '.join(_ROLES)}, found {role!r}")
    return _ROLES[role]


def turn_text(message: Mapping[str, Any], index: int = 0) -> str:
    """A message as one text: its reasoning in a think block, its content, its tool calls.

    Raises:
        ValueError: content that is not text; names message `index`.
    """
    reasoning, content = split_message(message, index)
    if _ROLES.get(message.get("role", "")) == "tool":
        return f"[tool result] {content}"
    return content if reasoning is None else joined(reasoning, content)


def split_message(message: Mapping[str, Any], index: int = 0) -> tuple[str | None, str]:
    """The message's reasoning, if it has a separate field (else None), and its content and tool calls."""
    reasoning = next((message[key] for key in _REASONING_KEYS if message.get(key)), None)
    content = message_text(message.get("content"), index)
    calls = "\n".join(_call_text(call) for call in _calls(message))
    text = f"{content}\n{calls}" if content and calls else content or calls
    return None if reasoning is None else message_text(reasoning, index), text


def message_text(content: Any, index: int = 0) -> str:
    """The text of a message's content: a string, a list of text parts, or None.

    >>> message_text([{"type": "text", "text": "Hello, "}, {"type": "text", "text": "you."}])
    'Hello, you.'
    """
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence):
        return "".join(_part_text(part, index) for part in content)
    kind = type(content).__name__
    raise ValueError(f"message {index}: 'content' should be text or a list of text parts, found {kind}")


def _part_text(part: Any, index: int) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, Mapping) and isinstance(part.get("text"), str) and part.get("type") in (None, *_TEXT_PARTS):
        return part["text"]
    kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
    raise ValueError(f"message {index}: the guard judges text, but a part of 'content' is of type {kind!r}")


def _calls(message: Mapping[str, Any]) -> Sequence[Any]:
    calls = message.get("tool_calls") or message.get("function_call") or ()
    return calls if isinstance(calls, Sequence) and not isinstance(calls, str) else [calls]


def _call_text(call: Any) -> str:
    function = call.get("function", call) if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or "name" not in function:
        return f"[tool call] {_as_json(call)}"
    arguments = function.get("arguments")
    return f"[tool call] {function['name']}({'' if arguments is None else _as_json(arguments)})"


def _as_json(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
