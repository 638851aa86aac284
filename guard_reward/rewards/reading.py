"""TRL's rows → rollouts, with what the trainer knows about the policy."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from guard_reward.messages import as_messages
from guard_reward.rewards.lost_text import with_lost_text
from guard_reward.rewards.policy import PolicyFacts
from guard_reward.rollout import Rollout, has_content
from guard_reward.verdict import Outcome, Unjudged

__all__ = ["check_lengths", "read_rollout"]


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
        if policy is None or not policy.thinking_parsed or completion_ids is None or not _is_one(completion):
            return rollout
        return _checked_by_tokens(rollout, completion[0], policy, completion_ids, prefilled=bool(is_prefilled))
    except Exception as error:  # a row may hold anything; one bad row must not stop the others
        return Unjudged(Outcome.GUARD_ERROR, reason=f"the row cannot be read: {error}")


def _checked_by_tokens(
    rollout: Rollout, message: Mapping[str, Any], policy: PolicyFacts, ids: Sequence[int], *, prefilled: bool
) -> Rollout:
    """A rollout that a parser has read, with what its tokens say."""
    written = policy.decode(ids)
    if policy.thinks_in_tags:
        rollout = with_lost_text(rollout, message, written, prefilled=prefilled)
    # A parser leaves control tokens in the text; they show nothing.
    return rollout if has_content(written) else replace(rollout, outcome=Outcome.EMPTY)


def _is_one(completion: Any) -> bool:
    """Whether a completion is one message: the tokens of several hold the results of tools too."""
    return not isinstance(completion, str) and len(completion) == 1


def _gets_a_new_turn(prompt: Any) -> bool:
    """Whether the chat template opens the policy's turn after these messages.

    It does not if a trainer lets the policy continue the prompt's last turn. Then text in front of a ``</think>`` must
    not count as thinking, which a scheme may leave unjudged.
    """
    messages = as_messages(prompt, "prompt")
    return bool(messages) and messages[-1]["role"] != "assistant"
