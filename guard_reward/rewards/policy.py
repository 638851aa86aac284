"""What a completion cannot tell about itself: which ids end it, and whether it begins inside the thinking."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from guard_reward.thinking import OPEN, ends_open

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = [
    "PolicyFacts",
    "opens_thinking",
    "opens_thinking_of_trainer",
    "parses_thinking",
    "policy_of_trainer",
    "tokenizer_of_trainer",
]


@dataclass(frozen=True, slots=True)
class PolicyFacts:
    """What a completion cannot tell about itself.

    Attributes:
        eos_token_ids: every id that ends a completion; any other last id means that it was truncated.
        thinking_prefilled: whether the chat template writes the opening ``<think>``, so that completions begin inside.
        thinking_parsed: whether the trainer moves the thinking of chat messages to a field of its own.
        thinks_in_tags: whether what it moves there is the text between ``<think>`` tags.
        decode: token ids → text without control tokens.
    """

    eos_token_ids: tuple[int, ...]
    thinking_prefilled: bool
    thinking_parsed: bool = False
    thinks_in_tags: bool = False
    decode: Callable[[Sequence[int]], str] = field(default=lambda ids: "", compare=False)


def opens_thinking(
    tokenizer: PreTrainedTokenizerBase, chat_template_kwargs: Mapping[str, Any], chat_template: str | None = None
) -> bool:
    """Whether a prompt ends in an open ``<think>`` once the chat template has rendered it.

    Args:
        tokenizer: the policy's.
        chat_template_kwargs: what the trainer passes to the template, such as ``{"enable_thinking": False}``.
        chat_template: another template than the tokenizer's own.
    """
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hello"}],
        tokenize=False,
        add_generation_prompt=True,
        chat_template=chat_template,
        **chat_template_kwargs,
    )
    return ends_open(str(prompt))


def policy_of_trainer(log_metric: Any) -> PolicyFacts | None:
    """The facts of the policy that a trainer trains; None if they cannot be read.

    TRL does not pass them to reward functions. But the `log_metric` that it passes is a method of the trainer, and the
    trainer has the tokenizer, the end tokens and the chat template's settings.

    Args:
        log_metric: as the trainer passes it.
    """
    trainer = getattr(log_metric, "__self__", None)
    tokenizer: Any = tokenizer_of_trainer(log_metric)
    if tokenizer is None:
        return None
    ends = getattr(trainer, "eos_token_ids", None) or _declared_ends(trainer)
    return PolicyFacts(
        eos_token_ids=tuple(dict.fromkeys(end for end in (*ends, tokenizer.eos_token_id) if end is not None)),
        thinking_prefilled=_opens_thinking(trainer, tokenizer),
        thinking_parsed=parses_thinking(tokenizer),
        thinks_in_tags=OPEN in str(_response_format(tokenizer)),
        decode=partial(_decode, tokenizer),
    )


def tokenizer_of_trainer(log_metric: Any) -> PreTrainedTokenizerBase | None:
    """The tokenizer of the policy that a trainer trains; None if there is no trainer.

    Args:
        log_metric: as the trainer passes it.
    """
    processing = getattr(getattr(log_metric, "__self__", None), "processing_class", None)
    tokenizer = getattr(processing, "tokenizer", processing)  # a processor holds the tokenizer
    return tokenizer if hasattr(tokenizer, "eos_token_id") else None


def opens_thinking_of_trainer(log_metric: Any) -> bool:
    """Whether the chat template of a trainer's policy opens the thinking, so that completions begin inside it.

    Args:
        log_metric: as the trainer passes it; False without a trainer.
    """
    tokenizer = tokenizer_of_trainer(log_metric)
    return tokenizer is not None and _opens_thinking(log_metric.__self__, tokenizer)


def _declared_ends(trainer: Any) -> list[int]:
    """The end tokens of the policy's generation config."""
    ends = getattr(getattr(getattr(trainer, "model", None), "generation_config", None), "eos_token_id", None)
    return [] if ends is None else [ends] if isinstance(ends, int) else list(ends)


def parses_thinking(tokenizer: Any) -> bool:
    """Whether TRL splits completions itself, so that the content of their messages has no thinking in it.

    It does if the policy's tokenizer has a response template, and gives it one if there are tools.
    """
    return _response_format(tokenizer) is not None


def _response_format(tokenizer: Any) -> Any:
    names = ("response_template", "response_schema")
    return next((found for name in names if (found := getattr(tokenizer, name, None)) is not None), None)


def _decode(tokenizer: Any, ids: Sequence[int]) -> str:
    text: str = tokenizer.decode(ids, skip_special_tokens=True)
    return text


def _opens_thinking(trainer: Any, tokenizer: Any) -> bool:
    try:
        return opens_thinking(
            tokenizer,
            getattr(trainer, "chat_template_kwargs", None) or {},
            getattr(trainer, "chat_template", None),
        )
    except Exception:  # a template may raise anything; plain strings need no template
        return False
