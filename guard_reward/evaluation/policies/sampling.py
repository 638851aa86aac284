"""Sampling completions from a transformers model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guard_reward.errors import one_line
from guard_reward.thinking import ends_open

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["Completion", "sample_completions", "sample_replies"]


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model wrote behind a prompt.

    Attributes:
        text: without control tokens.
        begins_in_thinking: whether the prompt ends in an open ``<think>``.
        truncated: whether it was cut off for length.
        error: why there is no completion; empty if there is one.
    """

    text: str = ""
    begins_in_thinking: bool = False
    truncated: bool = False
    error: str = ""


def sample_replies(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    requests: Sequence[str],
    *,
    max_new_tokens: int,
    temperature: float,
    seed: int,
    batch_size: int = 250,
) -> list[str]:
    """One reply per request, sampled as in training: the texts of `sample_completions`.

    Raises:
        ValueError: a request without a completion; says why.
    """
    prompts = [[{"role": "user", "content": request}] for request in requests]
    completions = sample_completions(
        model,
        tokenizer,
        prompts,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        seed=seed,
        batch_size=batch_size,
    )
    if errors := [completion.error for completion in completions if completion.error]:
        raise ValueError(errors[0])
    return [completion.text for completion in completions]


def sample_completions(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[Mapping[str, Any]]],
    *,
    max_new_tokens: int,
    temperature: float,
    seed: int,
    batch_size: int = 250,
    template_kwargs: Mapping[str, Any] | None = None,
) -> list[Completion]:
    """One completion per prompt, sampled as in training, with nothing cut off; the likeliest one at temperature 0.

    A cut-off (min_p, top_p) would hide tokens from training: what is never sampled is never corrected, and its
    probability can grow until the policy drifts into nonsense.

    Args:
        model, tokenizer: the policy.
        prompts: chat messages. The policy continues a last message of the assistant.
        max_new_tokens: at which a completion is cut off.
        temperature: of sampling.
        seed: of sampling.
        batch_size: completions that are written together; halved if memory runs out.
        template_kwargs: for the chat template, such as ``{"enable_thinking": False}``.
    """
    import torch

    model.eval()
    readable = _readable(model, tokenizer, prompts, template_kwargs or {})
    found = {index: it for index, it in enumerate(readable) if isinstance(it, Completion)}
    rendered = {index: it for index, it in enumerate(readable) if isinstance(it, str)}
    order = sorted(rendered, key=lambda index: len(rendered[index]))  # little padding
    sampling = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
    with torch.random.fork_rng(), torch.inference_mode():
        torch.manual_seed(seed)
        while order:
            batch = order[:batch_size]
            try:
                ids = _generate(
                    model,
                    tokenizer,
                    [rendered[index] for index in batch],
                    max_new_tokens=max_new_tokens,
                    **(sampling if temperature else {"do_sample": False}),
                )
            except torch.OutOfMemoryError:
                if batch_size == 1:
                    raise
                batch_size = max(1, min(batch_size, len(batch)) // 2)
                continue
            texts = tokenizer.batch_decode(ids, skip_special_tokens=True)
            ends = torch.tensor(_end_ids(model, tokenizer), device=ids.device)
            ended = torch.isin(ids, ends).any(dim=1).tolist()
            for index, text, has_end in zip(batch, texts, ended, strict=True):
                found[index] = Completion(text, ends_open(rendered[index]), truncated=not has_end)
            order = order[len(batch) :]
    return [found[index] for index in range(len(prompts))]


def _readable(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[Mapping[str, Any]]],
    template_kwargs: Mapping[str, Any],
) -> list[str | Completion]:
    """Each prompt as the policy reads it, or why it cannot: a template refuses it, or it is longer than the context."""
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)

    def one(prompt: Sequence[Mapping[str, Any]]) -> str | Completion:
        try:
            text = _rendered(tokenizer, prompt, template_kwargs)
        except Exception as error:  # a template may raise anything, and one prompt must not stop the others
            return Completion(error=f"the policy's chat template refuses the prompt: {one_line(error)}")
        # A token has at least one character, so most prompts need not be counted.
        if limit and len(text) >= limit:
            tokens = len(tokenizer(text, add_special_tokens=False)["input_ids"])
            if tokens >= limit:
                return Completion(error=f"the prompt has {tokens:,} tokens, and the policy's context {limit:,}")
        return text

    return [one(prompt) for prompt in prompts]


def _rendered(
    tokenizer: PreTrainedTokenizerBase, prompt: Sequence[Mapping[str, Any]], template_kwargs: Mapping[str, Any]
) -> str:
    """The prompt as the policy reads it."""
    is_begun = prompt[-1]["role"] == "assistant"
    return str(
        tokenizer.apply_chat_template(
            [dict(message) for message in prompt],
            add_generation_prompt=not is_begun,
            continue_final_message=is_begun,
            tokenize=False,  # its own tokenising ignores padding_side, and padding on the right garbles the replies
            **template_kwargs,
        )
    )


def _generate(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], **options: Any
) -> torch.Tensor:
    """Token ids behind each prompt, of shape (prompts, tokens), with padding behind each end."""
    inputs = tokenizer(
        list(prompts), add_special_tokens=False, padding=True, padding_side="left", return_tensors="pt"
    ).to(model.device)
    generate: Any = model.generate
    output: torch.Tensor = generate(**inputs, **options)
    return output[:, inputs["input_ids"].shape[1] :]


def _end_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    declared = model.generation_config.eos_token_id if model.generation_config is not None else None
    ends = [] if declared is None else [declared] if isinstance(declared, int) else list(declared)
    return [end for end in (*ends, tokenizer.eos_token_id) if end is not None]
