"""Inspect's messages → the prompt and the reply that are judged, in the shapes of `guard_reward.messages`.

| in the transcript | judged as |
|---|---|
| everything up to the last user message that an assistant's message follows | the prompt |
| what the assistant wrote behind it, with its tool calls and their results | the reply |
| an output that is none of these messages (a solver may replace it) | the end of the reply |
| an assistant's message of the data set, such as an example, that a user's message follows | part of the prompt |
| reasoning parts, and what stands in ``<think>`` tags | the thinking |
| reasoning that a provider encrypted | its summary, if there is one |
| tools that a provider ran itself | tool calls, with their results |
| images, audio and other parts that are not text | an error when they are read: a text guard cannot judge them |

Reads attributes only, so it does not import Inspect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Row", "read_sample"]

_Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """What is judged of one sample.

    Attributes:
        prompt: chat messages.
        reply: the messages of the assistant's last turn; empty if there is none.
        hidden_thinking: whether some of the reply's reasoning is encrypted without a summary: nobody can judge it.
    """

    prompt: tuple[_Message, ...]
    reply: tuple[_Message, ...]
    hidden_thinking: bool = False


def read_sample(messages: Sequence[Any], output: Any) -> Row:
    """The prompt and the reply of a sample (table above).

    Args:
        messages: of a ``TaskState`` or an ``EvalSample``.
        output: of the same.
    """
    last = max((index for index, message in enumerate(messages) if message.role == "assistant"), default=None)
    if last is not None and messages[last].source == "input" and last + 1 < len(messages):
        last = None  # nothing was generated
    final = _final_message(output)
    if last is None:
        replies = [] if final is None else [final]
        return _row(messages, replies)
    begin = max((index + 1 for index in range(last) if messages[index].role in ("user", "system")), default=0)
    replies = list(messages[begin : last + 1])
    known = [message.text for message in messages if message.role == "assistant"]
    if final is not None and final.text.strip() and final.text not in known:
        replies.append(final)
    return _row(messages[:begin], replies)


def _row(prompt: Sequence[Any], replies: Sequence[Any]) -> Row:
    hidden = any(_is_hidden(part) for message in replies for part in _parts(message))
    return Row(tuple(map(_message, prompt)), tuple(map(_message, replies)), hidden)


def _final_message(output: Any) -> Any:
    """The message of the model's output; None if there is none, or it is empty."""
    choices = getattr(output, "choices", None)
    message = choices[0].message if choices else None
    return message if message is not None and (message.content or message.tool_calls) else None


def _message(message: Any) -> _Message:
    parts = _parts(message)
    shown: _Message = {"role": message.role, "content": _content(message, parts)}
    if thoughts := [text for part in parts if (text := _reasoning(part))]:
        shown["reasoning_content"] = "\n".join(thoughts)
    calls = [_provider_call(part) for part in parts if part.type == "tool_use"]
    calls += [_call(call) for call in getattr(message, "tool_calls", None) or ()]
    return {**shown, "tool_calls": calls} if calls else shown


def _parts(message: Any) -> Sequence[Any]:
    return () if isinstance(message.content, str) else message.content


def _content(message: Any, parts: Sequence[Any]) -> str | list[_Message]:
    if isinstance(message.content, str):
        return "\n".join(filter(None, [message.content, _error(message)]))
    shown = [_part(part) for part in parts if part.type not in ("reasoning", "tool_use")]
    # Between two texts Inspect shows a line break.
    texts = [text for part in shown for text in ({"type": "text", "text": "\n"}, part)][1:]
    return [*texts, *([{"type": "text", "text": f"\n{error}"}] if (error := _error(message)) else [])]


def _part(part: Any) -> _Message:
    return {"type": part.type, "text": part.text} if part.type == "text" else {"type": part.type}


def _error(message: Any) -> str:
    """What went wrong in a tool, unless its message says it already."""
    error = getattr(message, "error", None)
    return str(error.message) if error is not None and error.message not in message.text else ""


def _reasoning(part: Any) -> str:
    if part.type != "reasoning":
        return ""
    return (part.summary or "") if part.redacted else part.reasoning or part.summary or ""


def _is_hidden(part: Any) -> bool:
    return part.type == "reasoning" and bool(part.redacted) and not part.summary


def _call(call: Any) -> _Message:
    shown: _Message = {"name": call.function, "arguments": call.arguments}
    return {**shown, "parse_error": call.parse_error} if call.parse_error else shown


def _provider_call(part: Any) -> _Message:
    return {"name": part.name, "arguments": part.arguments, "result": part.result, "error": part.error}
