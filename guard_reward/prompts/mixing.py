"""Prompt sets, loaded and mixed: the training and the evaluation prompts of a run. No model and no trainer."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from guard_reward.errors import UserError
from guard_reward.prompts.loading import load_set
from guard_reward.prompts.sets import DataConfig, PromptSet

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import TrainingArguments

__all__ = ["load_prompts", "mix"]

logger = logging.getLogger(__name__)


def load_prompts(config: DataConfig, args: TrainingArguments) -> tuple[Dataset, Dataset | None]:
    """The training prompts, and the evaluation prompts if the run evaluates, else None.

    Each has the columns ``prompt`` (messages), ``source`` (name of the set) and, if all sets have it, ``harmful``
    (bool).

    Args:
        config: the prompt sets.
        args: ``seed`` decides which rows are drawn, and their order; ``eval_strategy`` whether the run evaluates.

    Raises:
        UserError: names the set and the row, column or field that is wrong.
    """
    if not config.datasets:
        raise UserError("datasets: name at least one prompt set, or one with --dataset_name")
    evaluates = str(getattr(args.eval_strategy, "value", args.eval_strategy)) != "no"
    if evaluates and not config.eval_datasets:
        raise UserError("eval_datasets: eval_strategy asks for evaluation; name a prompt set for it")
    mixtures = [mix(sets, args.seed) for sets in (config.datasets, *([config.eval_datasets] if evaluates else []))]
    labelled = ["harmful" in rows.column_names for rows in mixtures]
    if any(labelled) and not all(labelled):
        logger.warning("harmful is known for training or for evaluation only: the metrics are not split by it")
        mixtures = [rows.select_columns(["prompt", "source"]) for rows in mixtures]
    return mixtures[0], mixtures[1] if evaluates else None


def mix(sets: Sequence[PromptSet], seed: int) -> Dataset:
    """Load the sets and mix them; a set with too few rows for its fraction makes the mixture smaller.

    Args:
        sets: all with a fraction, or all without; without fractions, all rows are taken.
        seed: of the drawing and of the order.

    Raises:
        UserError: names the set that is wrong, or whose fraction is less than one row.
    """
    from datasets import concatenate_datasets

    loaded = [load_set(entry, seed) for entry in sets]
    labelled = ["harmful" in rows.column_names for rows in loaded]
    if any(labelled) and not all(labelled):
        missing = ", ".join(entry.path for entry, known in zip(sets, labelled, strict=True) if not known)
        logger.warning("harmful is not known for %s: the metrics are not split by it", missing)
        loaded = [rows.select_columns(["prompt", "source"]) for rows in loaded]
    counts = _counts([entry.fraction for entry in sets], [len(rows) for rows in loaded])
    if 0 in counts:
        raise _no_row_of(sets[counts.index(0)], counts, sets)
    return concatenate_datasets(
        [rows.select(range(count)) for rows, count in zip(loaded, counts, strict=True)]
    ).shuffle(seed=seed)


def _no_row_of(lost: PromptSet, counts: Sequence[int], sets: Sequence[PromptSet]) -> UserError:
    """The error for a set that the mixture would not have at all."""
    fullest, rows = max(zip(sets, counts, strict=True), key=lambda pair: pair[1])
    return UserError(
        f"datasets: {lost.path} ({lost.source}): fraction {lost.fraction} is less than one row of a mixture of "
        f"{sum(counts)} rows, {rows} of them from {fullest.path} ({fullest.source}, fraction {fullest.fraction}); "
        "raise the fraction, add rows to the other sets, or leave this set out"
    )


def _counts(fractions: Sequence[float | None], rows: Sequence[int]) -> list[int]:
    """How many rows of each set make the largest mixture with these fractions in which no row occurs twice.

    >>> _counts([3, 1], [60, 100])
    [60, 20]
    """
    given = [fraction for fraction in fractions if fraction is not None]
    if not given:
        return list(rows)
    if len(given) < len(fractions):
        raise UserError("datasets: give every prompt set a fraction, or none")
    total = min(count / fraction for count, fraction in zip(rows, given, strict=True))
    return [min(count, round(total * fraction)) for count, fraction in zip(rows, given, strict=True)]
