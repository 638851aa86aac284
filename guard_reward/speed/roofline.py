"""The least time that scoring can take: the arithmetic of the tokens that differ, at the device's best matmul rate."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from guard_reward.scoring.prefixes import common_prefix

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["Roofline", "matmul_rate", "synchronize"]


@dataclass(frozen=True, slots=True)
class Roofline:
    """The fewest floating-point operations with which rows can be scored.

    Counted: the linear layers for every token that no other row and no preamble has computed, answers included;
    attention's two products over each token's context; the output head for each token of the answer.

    Attributes:
        per_token: operations of the linear layers for one token.
        per_pair: operations of attention for one token and one token of its context.
        per_answer_token: operations of the head for one token.
    """

    per_token: float
    per_pair: float
    per_answer_token: float

    @classmethod
    def of(cls, model: PreTrainedModel) -> Roofline:
        """Of a model of any shape."""
        config = model.config.get_text_config()
        head = model.get_output_embeddings().weight
        embedding = model.get_input_embeddings().weight
        outside = {id(head), id(embedding)}
        linear = sum(p.numel() for p in model.parameters() if p.dim() == 2 and id(p) not in outside)
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return cls(
            per_token=2.0 * linear,
            per_pair=4.0 * config.num_hidden_layers * config.num_attention_heads * size,
            per_answer_token=2.0 * head.numel(),
        )

    def operations(self, rows: Sequence[Sequence[int]], answers: Sequence[Sequence[int]], preamble: int) -> float:
        """For these rows and answers; the first `preamble` tokens of every row were computed before."""
        total, before = 0.0, np.empty(0, dtype=np.int64)
        for row, answer in sorted(zip(rows, answers, strict=True), key=lambda pair: list(pair[0])):
            tokens = np.array(row, dtype=np.int64)
            shared = max(common_prefix(tokens, before), min(preamble, len(tokens)))
            before, length = tokens, len(row) + len(answer)
            pairs = (length * (length + 1) - shared * (shared + 1)) / 2
            total += (length - shared) * self.per_token + pairs * self.per_pair
            total += (len(answer) + 1) * self.per_answer_token
        return total


def matmul_rate(device: torch.device, dtype: torch.dtype, seconds: float = 0.3) -> float:
    """Operations per second of the fastest of a few large matrix products, measured now."""
    best = 0.0
    for tokens, width in ((1024, 3072), (2048, 4096), (4096, 4096)):
        left = torch.randn(tokens, 1024 if device.type == "cpu" else 4096, device=device).to(dtype)
        right = torch.randn(width, left.shape[1], device=device).to(dtype)
        torch.nn.functional.linear(left, right)
        synchronize(device)
        count, started = 0, time.perf_counter()
        while time.perf_counter() - started < seconds:
            for _ in range(4):
                torch.nn.functional.linear(left, right)
            synchronize(device)
            count += 4
        best = max(best, count * 2 * left.numel() * width / (time.perf_counter() - started))
    return best


def synchronize(device: torch.device) -> None:
    """Wait for what a GPU has been asked to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
