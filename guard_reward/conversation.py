"""Conversations as a guard sees them: plain user / assistant / system turns of text.

Chat messages come in more shapes than a guard's template understands, and Qwen3Guard's template silently drops the
rest. `normalize` rewrites a conversation so that nothing is dropped. A conversation that the template shows in full
comes back unchanged. What one message shows, and how its roles are called, is in `guard_reward.messages`.

| in the conversation | what the guard sees |
|---|---|
| a message's text, and what its other fields show | the text, followed by the rest, in lines |
| no content (``None``) | an empty text |
| its reasoning | ``<think>\\n…\\n</think>\\n\\n`` before that |
| a tool's message | ``[tool result] …`` at the end of the assistant turn before it (else a new assistant turn) |
| a leading system message before a user's | unchanged: the template shows it in the first user turn |
| several leading system messages | one, joined by a blank line |
| another system message | ``[system] …`` at the beginning of the next user turn (else a new user turn) |
| an assistant's message in front | an empty user turn before it |
| an unknown role | `ValueError` |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from guard_reward.messages import as_messages, split_message
from guard_reward.thinking import joined

__all__ = ["Message", "Turns", "normalize", "turn_text"]

Message = dict[str, str]
"""One turn: ``{"role": "user" | "assistant" | "system", "content": text}``."""


class Turns(list[Message]):
    """Turns that are already normal; `normalize` returns them as they are."""


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
    messages = [] if messages is None else as_messages(messages)
    if not messages:
        raise ValueError("a conversation needs at least one message, this one has none")
    turns = Turns()
    system: list[str] = []  # system texts that wait for the next user turn
    for index, message in enumerate(messages):
        role: str = message["role"]
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


def turn_text(message: Mapping[str, Any], index: int = 0) -> str:
    """A message as one text: its reasoning in a think block, its content, and what its other fields show.

    Args:
        message: as `guard_reward.messages.as_messages` returns it.
        index: of the message, for errors.

    Raises:
        ValueError: content that is not text; names the message.
    """
    parts = split_message(message, index)
    text = "\n".join(part for part in (parts.content, parts.rest) if part)
    if message.get("role") == "tool":
        return f"[tool result] {text}"
    return text if parts.reasoning is None else joined(parts.reasoning, text)
