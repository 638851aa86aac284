"""Conversations for chat templates that refuse two neighbouring turns of one role."""

from __future__ import annotations

from collections.abc import Sequence

from guard_reward.conversation import Message

__all__ = ["alternating"]


def alternating(turns: Sequence[Message]) -> list[Message]:
    """The turns, with neighbours of one role joined by a blank line.

    A call of a tool is such a case: the assistant's turn with the call and the tool's result, then its answer.

    >>> alternating([{"role": "user", "content": "Hi."}, {"role": "user", "content": "Hello?"}])
    [{'role': 'user', 'content': 'Hi.\\n\\nHello?'}]
    """
    found: list[Message] = []
    for turn in turns:
        if found and found[-1]["role"] == turn["role"]:
            found[-1] = {**turn, "content": f"{found[-1]['content']}\n\n{turn['content']}"}
        else:
            found.append(turn)
    return found
