"""What a completion cannot tell about itself: which ids end it, and whether it begins inside the thinking."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["PolicyFacts", "opens_thinking"]


@dataclass(frozen=True, slots=True)
class PolicyFacts:
    """What a completion cannot tell about itself.

    Attributes:
        eos_token_ids: every id that ends a completion; what ends otherwise was truncated.
        thinking_prefilled: whether the chat template writes the opening ``<think>``, so that completions begin inside.
    """

    eos_token_ids: tuple[int, ...]
    thinking_prefilled: bool


def opens_thinking(tokenizer: PreTrainedTokenizerBase, chat_template_kwargs: Mapping[str, Any]) -> bool:
    """Whether a prompt ends in an open ``<think>`` once the chat template has rendered it."""
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hello"}], tokenize=False, add_generation_prompt=True, **chat_template_kwargs
    )
    return prompt.rstrip().endswith("<think>")
