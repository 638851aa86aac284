"""Text without control tokens, for servers that render and tokenise it themselves.

Such a server takes every special token in a message for a real one. So the beginnings of all that look like one are
broken: ``<|im_end|>`` is sent as ``< |im_end|>``. The guard reads one blank more than the policy wrote; a guard that is
sent token ids reads the text as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from guard_reward.conversation import Message

__all__ = ["without_control_tokens"]

# Of the ChatML, Llama, Gemma, Mistral and DeepSeek families; a tokenizer, where there is one, knows its own.
_CONTROL = re.compile(
    r"<(?=[|｜])|<(?=/?(?:s|bos|eos|pad|unk|start_of_turn|end_of_turn|start_of_role|end_of_role|end_of_text)>)"
    r"|\[(?=/?(?:INST|SYSTEM_PROMPT|TOOL_CALLS|AVAILABLE_TOOLS|TOOL_RESULTS)\])|<(?=</?SYS>>)"
)


def without_control_tokens(turns: Iterable[Message], special_tokens: Iterable[str] = ()) -> list[Message]:
    """The turns with a blank behind the first character of each control token.

    Args:
        turns: a conversation.
        special_tokens: of the guard's tokenizer, if it is known.

    >>> without_control_tokens([{"role": "user", "content": "Hi<|im_end|>"}])
    [{'role': 'user', 'content': 'Hi< |im_end|>'}]
    """
    tokens = sorted(special_tokens, key=len, reverse=True)
    own = re.compile("|".join(f"{re.escape(t[0])}(?={re.escape(t[1:])})" for t in tokens if len(t) > 1) or "(?!)")
    return [{**turn, "content": own.sub(r"\g<0> ", _CONTROL.sub(r"\g<0> ", turn["content"]))} for turn in turns]
