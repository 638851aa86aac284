"""Whether the guard sees the policy's system prompt."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from guard_reward.messages import as_messages
from guard_reward.rollout import Rollout
from guard_reward.verdict import Unjudged

__all__ = ["SystemPromptMode", "without_system_prompt"]

SystemPromptMode = Literal["show", "omit"]


def without_system_prompt(rollout: Rollout | Unjudged, prompt: str | Sequence[Mapping[str, Any]]) -> Rollout | Unjudged:
    """A rollout whose prompt does not begin with the policy's system prompt.

    Left out are the system and developer messages in front. Later ones stay, because they are part of the conversation.
    So does a system prompt that nothing follows but the answer: the guard must see what was answered.

    Args:
        rollout: what was read of `prompt` and a completion.
        prompt: as the trainer passed it. In a plain string a system prompt cannot be told from the rest.

    >>> prompt = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    >>> without_system_prompt(Rollout.from_trl(prompt, "Hello."), prompt).messages
    ({'role': 'user', 'content': 'Hi'},)
    """
    if isinstance(rollout, Unjudged) or isinstance(prompt, str):
        return rollout
    # Before the messages are normalized: that may make a system message part of a user's.
    messages = as_messages(prompt, "prompt")
    rest = list(itertools.dropwhile(lambda message: message["role"] == "system", messages))
    only_a_begun_answer = len(rest) == 1 and rest[0]["role"] == "assistant"
    if len(rest) == len(messages) or not rest or only_a_begun_answer:
        return rollout
    return replace(rollout, messages=Rollout.from_trl(rest, "").messages)
