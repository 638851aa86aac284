"""Conversations put into the messages of a guard's own instructions.

Some guards are told their task in a user's message, and the conversation that they judge stands in it as text. What the
messages say is written as Jinja templates over ``messages``; the checkpoint's own chat template renders the result.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from jinja2.sandbox import ImmutableSandboxedEnvironment

from guard_reward.conversation import Message

__all__ = ["wrapped"]


def wrapped(turns: Sequence[Message], wrapping: Mapping[str, str]) -> list[Message]:
    """The messages that show a conversation.

    ``tojson`` writes JSON in which ``<`` is escaped too: what it quotes can neither end its quotation nor contain a
    control token such as ``<|im_end|>``, or a tag.

    Args:
        turns: the conversation.
        wrapping: role of each message → its text, as a Jinja template over ``messages``.

    >>> wrapped([{"role": "user", "content": "Hi."}], {"user": "Is this rude?\\n{{ messages[-1].content }}"})
    [{'role': 'user', 'content': 'Is this rude?\\nHi.'}]
    """
    return [{"role": role, "content": _compiled(text).render(messages=turns)} for role, text in wrapping.items()]


@cache
def _compiled(template: str) -> Any:
    # Blocks as in chat templates (transformers), so that the same text means the same.
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    environment.filters["tojson"] = _as_json
    return environment.from_string(template)


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False).replace("<", "\\u003c")
