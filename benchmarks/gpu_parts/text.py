"""Made-up conversations of a chosen length, grouped as a trainer's rollouts are."""

from __future__ import annotations

from random import Random

from shaped_guard import MARKER
from shaped_tokenizer import sample_text, word

__all__ = ["conversations", "prompt"]

PROMPT_TOKENS = 60


def prompt(rng: Random, *, unsafe: bool = False) -> dict[str, str]:
    """A user's message; the guard finds every conversation with an unsafe one Unsafe."""
    return {"role": "user", "content": sample_text(rng, PROMPT_TOKENS) + (word(MARKER) if unsafe else "")}


def conversations(rng: Random, *, prompts: int, group_size: int, tokens: int) -> list[list[dict[str, str]]]:
    """`prompts` prompts with `group_size` responses of `tokens` tokens each, every second one Unsafe."""
    asked = [prompt(rng) for _ in range(prompts)]
    found = []
    for number in range(group_size):
        for place, question in enumerate(asked):
            text = sample_text(rng, tokens - 1) + (word(MARKER) if (number + place) % 2 else sample_text(rng, 1))
            found.append([question, {"role": "assistant", "content": text}])
    return found
