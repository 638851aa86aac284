"""Exactness on a guard of the true shape: verdicts with wide margins, and, hardest of all, a head of random weights."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

import torch
from shaped_guard import END, encode
from shaped_tokenizer import shaped_tokenizer

from gpu_parts.bench import Bench, cast
from gpu_parts.precisions import Case, compare_precisions
from gpu_parts.rows import Row
from gpu_parts.text import conversations
from guard_reward.guards.specs.qwen3guard import QWEN3GUARD, parse_verdict
from guard_reward.models.chat_template import Prompter

COMPLETION_TOKENS = 128
VERDICTS, RANDOM_HEAD = f"chosen verdicts, {COMPLETION_TOKENS} tokens", f"random head, {COMPLETION_TOKENS} tokens"


def settings(options: argparse.Namespace, shape: str) -> list[Any]:
    """With a random head no logit is far from the next, and an answer is 128 tokens that no grammar guesses."""
    return [VERDICTS, RANDOM_HEAD]


def measure(bench: Bench, shape: str, setting: Any) -> Iterator[Row]:
    """The rows of one setting; the model is as it was before."""
    model, tokenizer = bench.model(shape), shaped_tokenizer(is_guard=True)
    count = bench.options.exactness_rows if setting == VERDICTS else max(2, bench.options.exactness_rows // 6)
    made_up = conversations(Random(f"exactness {shape}"), prompts=2, group_size=count, tokens=COMPLETION_TOKENS)[:count]
    prompter = Prompter(tokenizer)

    def verdict(answer: Sequence[int]) -> str:
        return str(parse_verdict(tokenizer.decode(answer), refusal_required=True))

    case = Case(
        part="exactness",
        shape=shape,
        setting=setting,
        model=model,
        rows=[prompter.encode(messages) for messages in made_up],
        grammar=QWEN3GUARD.grammar(encode, is_response=True),
        ends=[END],
        verdict=verdict if setting == VERDICTS else None,
    )
    head = model.get_output_embeddings().weight
    trained = head.data
    try:
        if setting == RANDOM_HEAD:
            generator = torch.Generator(head.device).manual_seed(0)
            drawn = torch.empty_like(trained).normal_(std=0.02, generator=generator)
            head.data = drawn.bfloat16().to(trained.dtype)
        yield from compare_precisions(case)
    finally:
        head.data = trained
        cast(model, bench.dtype)
