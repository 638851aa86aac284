"""Exactness on trained weights: the tiny guard that comes with the package, whose verdicts have natural margins."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from gpu_parts.bench import Bench
from gpu_parts.precisions import Case, compare_precisions
from gpu_parts.rows import Row
from guard_reward.tiny import load_tiny_guard
from guard_reward.tiny.guard import sample_conversations

SEED = 17  # not one that the guard was trained on


def settings(options: argparse.Namespace, shape: str) -> list[Any]:
    """One setting, once, whatever the shapes: the guard has its own."""
    return ["tiny guard, tiny world"] if shape == options.shapes[0] else []


def measure(bench: Bench, shape: str, setting: Any) -> Iterator[Row]:
    """Responses of the tiny world."""
    bench.release()
    guard = load_tiny_guard(device=str(bench.device), dtype=torch.bfloat16)
    sampled = [list(one.messages) for one in sample_conversations(SEED, 4 * bench.options.trained_rows)]
    responses = [messages for messages in sampled if messages[-1]["role"] == "assistant"]

    def verdict(answer: Sequence[int]) -> str:
        return str(guard.spec.parse(guard.tokenizer.decode(answer, skip_special_tokens=True), is_response=True))

    yield from compare_precisions(
        Case(
            part="trained",
            shape=shape,
            setting=str(setting),
            model=guard.model,
            rows=[guard.encode(messages) for messages in responses[: bench.options.trained_rows]],
            grammar=guard.response_grammar,
            ends=sorted(guard.engine.end_token_ids),
            verdict=verdict,
        )
    )
