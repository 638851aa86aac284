"""Ways to get verdicts for rows of token ids; each returns the answers without the end token."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import torch

from guard_reward.scoring import BatchRunner, Generation, Grammar, ScoringEngine, token_budget

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["Rows", "batched_generate", "model_card", "one_pass"]

Rows = Sequence[Sequence[int]]
MAX_NEW_TOKENS = 128  # of Qwen3Guard's model card


def model_card(model: PreTrainedModel, rows: Rows, end_token_ids: Collection[int]) -> list[list[int]]:
    """The model card's loop: one ``generate`` per conversation."""
    return [_generate(model, [row], end_token_ids)[0] for row in rows]


def batched_generate(
    model: PreTrainedModel, rows: Rows, end_token_ids: Collection[int], batch_size: int
) -> list[list[int]]:
    """Left-padded ``generate`` over rows sorted by length: the usual next step when the loop is too slow."""
    order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
    answers: dict[int, list[int]] = {}
    for begin in range(0, len(order), batch_size):
        indices = order[begin : begin + batch_size]
        generated = _generate(model, [rows[index] for index in indices], end_token_ids)
        answers.update(zip(indices, generated, strict=True))
    return [answers[index] for index in range(len(rows))]


def one_pass(engine: ScoringEngine, rows: Rows, grammar: Grammar) -> list[list[int]]:
    """This library's engine, in batches that fit into memory.

    Raises:
        Exception: of the first row that could not be scored.
    """
    runner: BatchRunner[Generation] = BatchRunner(lambda: token_budget(engine.model))
    found = runner.run(rows, lambda part: engine.generate([rows[index] for index in part], [grammar] * len(part)))
    for generation in found:
        if isinstance(generation, Exception):
            raise generation
    return [generation.token_ids for generation in found if isinstance(generation, Generation)]


@torch.inference_mode()
def _generate(model: Any, rows: Rows, end_token_ids: Collection[int]) -> list[list[int]]:
    width = max(len(row) for row in rows)
    pads = [width - len(row) for row in rows]
    end = next(iter(end_token_ids))
    ids = torch.tensor([[end] * pad + list(row) for pad, row in zip(pads, rows, strict=True)], device=model.device)
    mask = torch.tensor([[0] * pad + [1] * (width - pad) for pad in pads], device=model.device)
    output = model.generate(
        input_ids=ids, attention_mask=mask, max_new_tokens=MAX_NEW_TOKENS, do_sample=False, pad_token_id=end
    )
    answers = output[:, width:].tolist()
    return [
        answer[: next((k for k, token in enumerate(answer) if token in end_token_ids), len(answer))]
        for answer in answers
    ]
