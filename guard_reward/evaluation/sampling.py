"""Sampling replies from a policy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["sample_replies"]


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
    """One reply a request, sampled as in training, with nothing cut off.

    A cut-off (min_p, top_p) would hide tokens from training: what is never sampled is never corrected, and its
    probability can grow until the policy drifts into nonsense.
    """
    import torch

    model.eval()
    order = sorted(range(len(requests)), key=lambda index: len(requests[index]))  # little padding
    replies = [""] * len(requests)
    with torch.random.fork_rng(), torch.inference_mode():
        torch.manual_seed(seed)
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            prompts = tokenizer.apply_chat_template(
                [[{"role": "user", "content": requests[index]}] for index in batch],
                add_generation_prompt=True,
                tokenize=False,  # its own tokenising ignores padding_side, and padding on the right garbles the replies
            )
            inputs = tokenizer(
                prompts, add_special_tokens=False, padding=True, padding_side="left", return_tensors="pt"
            ).to(model.device)
            output = model.generate(
                **inputs,
                do_sample=True,
                temperature=temperature,
                top_k=0,
                top_p=1.0,
                max_new_tokens=max_new_tokens,
            )
            texts = tokenizer.batch_decode(output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
            for index, text in zip(batch, texts, strict=True):
                replies[index] = text
    return replies
