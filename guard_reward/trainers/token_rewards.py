"""Rewards per token beside the sequence score: asking the functions that give them, and laying them over the tokens."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

__all__ = ["names_of", "padded", "summed_token_rewards"]


def names_of(functions: Sequence[Callable[..., Any]]) -> list[str]:
    """What logs call some functions."""
    return [str(getattr(function, "__name__", type(function).__name__)) for function in functions]


def summed_token_rewards(
    trainer: Any, inputs: Any, prompts: Any, completions: Any, completion_ids: Sequence[Sequence[int]]
) -> list[list[float]]:
    """What the trainer's functions give to each token of this rank's rows, added up; 0 for a row without rewards.

    Args:
        trainer: has ``token_reward_funcs``; the functions get what TRL passes to reward functions.
        inputs, prompts, completions, completion_ids: as TRL's ``_calculate_rewards`` gets them.

    Raises:
        ValueError: a function returns another number of rows or of tokens, or a number that is not finite.
    """
    own = ("prompt", "completion", "completion_ids")
    columns = {key: [row[key] for row in inputs] for key in (inputs[0] if inputs else ()) if key not in own}
    total = [[0.0] * len(ids) for ids in completion_ids]
    for function, name in zip(trainer.token_reward_funcs, names_of(trainer.token_reward_funcs), strict=True):
        found = function(
            prompts=prompts,
            completions=completions,
            completion_ids=completion_ids,
            trainer_state=trainer.state,
            log_extra=trainer._log_completion_extra,
            log_metric=trainer._log_metric,
            **columns,
        )
        if len(found) != len(total):
            raise ValueError(f"{name} returned rewards for {len(found)} rows, and there are {len(total)}")
        for row, (values, sums) in enumerate(zip(found, total, strict=True)):
            if values is None:
                continue
            if not isinstance(values, Sequence):
                raise ValueError(
                    f"{name} should return a list of numbers per row, one per token: row {row} is {values!r}"
                )
            if len(values) != len(sums) or not all(map(math.isfinite, values)):
                raise ValueError(
                    f"{name} should return a finite number per token or None: row {row} has {len(sums)} tokens, and "
                    f"{len(values)} rewards"
                )
            total[row] = [value + other for value, other in zip(values, sums, strict=True)]
    return total


def padded(rows: Sequence[Sequence[float]], like: torch.Tensor) -> torch.Tensor:
    """Rows of numbers as a tensor of the shape, type and device of `like`, (B, T), with 0 behind each.

    >>> padded([[1.0], [2.0, 3.0]], torch.zeros(2, 3))
    tensor([[1., 0., 0.],
            [2., 3., 0.]])
    """
    found = torch.zeros_like(like)
    for row, values in enumerate(rows):
        found[row, : len(values)] = torch.tensor(values, dtype=like.dtype)
    return found
