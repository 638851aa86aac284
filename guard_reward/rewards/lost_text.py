"""What a trainer's parser leaves out of a message, found in the completion's own text.

TRL keeps the last thinking of a completion and what follows it, and the text behind a tool call. In front of them a
policy could write what the guard must not see, and some servers would show it to users.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from guard_reward.messages import split_message
from guard_reward.rollout import Rollout, has_content, split_thinking

__all__ = ["with_lost_text"]

_CALL = re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL)


def with_lost_text(rollout: Rollout, message: Mapping[str, Any], written: str, *, prefilled: bool) -> Rollout:
    """A rollout with all that the policy wrote: in its thinking and its answer, behind what the parser kept of them.

    Args:
        rollout: as it was read of `message`.
        message: the completion's only one, as the trainer has parsed it.
        written: the completion's text, whose thinking is between ``<think>`` tags.
        prefilled: whether it begins inside the thinking.
    """
    thinking, answer = split_thinking(written, prefilled=prefilled)
    if thinking and _visible(thinking) not in _visible(rollout.thinking or ""):
        rollout = replace(rollout, thinking="\n".join(filter(None, (rollout.thinking, thinking))))
    if _visible(_without_calls(answer, message)) == _visible(split_message(message).content):
        return rollout
    return replace(
        rollout,
        answer=f"{rollout.answer}\n{answer}".strip(),
        policy_text=f"{rollout.policy_text}\n{answer}".strip(),
        outcome=None if has_content(_CALL.sub("", answer)) else rollout.outcome,
    )


def _visible(text: str) -> str:
    return "".join(text.split())


def _without_calls(answer: str, message: Mapping[str, Any]) -> str:
    """The answer without its tool calls, if the message has them word for word."""
    kept = [call.get("function") for call in message.get("tool_calls") or ()]
    try:
        typed = [json.loads(call, object_pairs_hook=_without_repetition) for call in _CALL.findall(answer)]
    except (ValueError, RecursionError):
        return answer
    return _CALL.sub("", answer) if typed == kept else answer


def _without_repetition(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object of which a reader keeps everything: of keys that repeat, it would keep the last one."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key repeats")
    return found
