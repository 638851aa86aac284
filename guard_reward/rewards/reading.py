"""TRL's rows → rollouts, with what the trainer knows about the policy."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from guard_reward.messages import as_messages
from guard_reward.rewards.policy import PolicyFacts
from guard_reward.rollout import Rollout, has_content, split_thinking
from guard_reward.verdict import Outcome, Unjudged

__all__ = ["check_lengths", "read_rollout"]

_CALL_TAG = re.compile(r"</?tool_call>")
_CALL = re.compile(r"<tool_call>.*?</tool_call>", re.DOTALL)  # markup, whose letters are no content


def check_lengths(prompts: Sequence[Any], completions: Sequence[Any], completion_ids: Sequence[Any] | None) -> None:
    """Check that every row of a batch has all its parts.

    Raises:
        ValueError: another number of completions, or of their ids, than of prompts.
    """
    if len(prompts) != len(completions):
        raise ValueError(
            f"found {len(prompts)} prompts and {len(completions)} completions, but every completion needs its prompt: "
            "for several completions of one prompt, repeat the prompt"
        )
    if completion_ids is not None and len(completion_ids) != len(completions):
        raise ValueError(f"found {len(completions)} completions, but completion_ids of {len(completion_ids)}")


def read_rollout(
    prompt: Any,
    completion: Any,
    *,
    policy: PolicyFacts | None,
    completion_ids: Sequence[int] | None = None,
    eos_token_ids: Collection[int] | None = None,
    thinking_prefilled: bool | None = None,
) -> Rollout | Unjudged:
    """A row as a rollout; ``guard_error`` with the reason if it cannot be read.

    Args:
        prompt, completion: as TRL passes them.
        policy: what the trainer knows; None outside a trainer.
        completion_ids: the completion's tokens.
        eos_token_ids: the ids that end a completion; None takes the policy's.
        thinking_prefilled: whether completions begin inside the thinking; None takes the policy's.
    """
    if policy is not None and eos_token_ids is None:
        eos_token_ids = policy.eos_token_ids
    try:
        if isinstance(prompt, str):  # no chat template is applied to it
            is_prefilled = thinking_prefilled
        elif not _gets_a_new_turn(prompt):
            is_prefilled = None
        else:
            is_prefilled = policy.thinking_prefilled if policy and thinking_prefilled is None else thinking_prefilled
        rollout = Rollout.from_trl(
            prompt,
            completion,
            completion_ids=completion_ids,
            eos_token_ids=eos_token_ids,
            thinking_prefilled=is_prefilled,
            thinking_parsed=None if policy is None else policy.thinking_parsed,
        )
        if policy and policy.thinking_parsed and policy.decode and completion_ids is not None and _is_one(completion):
            written = split_thinking(policy.decode(completion_ids), prefilled=bool(is_prefilled))[1]
            return rollout if _is_whole(completion[0], written) else _with_lost_text(rollout, written)
        return rollout
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        return Unjudged(Outcome.GUARD_ERROR, reason=f"the row cannot be read: {error}")


def _is_one(completion: Any) -> bool:
    """Whether a completion is one message: the tokens of several hold the results of tools too."""
    return not isinstance(completion, str) and len(completion) == 1


def _is_whole(message: Mapping[str, Any], written: str) -> bool:
    """Whether a parsed message has each letter of the answer that the policy wrote.

    Parsers keep the last thinking and what follows it, and the text behind a tool call. In front of them, a policy
    could write what the guard must not see, and some servers would show it to users.
    """
    calls = [call.get("function") for call in message.get("tool_calls") or ()]
    parsed = f"{message.get('content')}{json.dumps(calls, ensure_ascii=False, default=str)}"
    return _letters(parsed) == _letters(_CALL_TAG.sub("", written))


def _letters(text: str) -> Counter[str]:
    return Counter(filter(str.isalnum, text))


def _with_lost_text(rollout: Rollout, written: str) -> Rollout:
    """A rollout whose answer has also all that the policy wrote."""
    outcome = None if has_content(_CALL.sub("", written)) else rollout.outcome
    answer = f"{rollout.answer}\n{written}".strip()
    return replace(rollout, answer=answer, policy_text=written, outcome=outcome)


def _gets_a_new_turn(prompt: Any) -> bool:
    """Whether the chat template opens the policy's turn after these messages.

    It does not if a trainer lets the policy continue the prompt's last turn. Then text in front of a ``</think>`` must
    not count as thinking, which a scheme may leave unjudged.
    """
    messages = as_messages(prompt, "prompt")
    return bool(messages) and messages[-1]["role"] != "assistant"
