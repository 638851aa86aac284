"""Prompt sets as rows to evaluate on, or to select from: what a command line names → prompts, with recorded replies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from guard_reward.errors import UserError, shortened
from guard_reward.evaluation.policies.replies import Reply
from guard_reward.evaluation.records import PromptRow
from guard_reward.prompts.loading import load_set
from guard_reward.prompts.public_sets import PUBLIC_SETS
from guard_reward.prompts.sets import PromptSet
from guard_reward.rewards.labels import read_label
from guard_reward.thinking import split_thinking

__all__ = ["load_rows", "named_sets"]

_LABEL_COLUMN = "harmful"
_OWN_COLUMNS = ("prompt", "source", "row", "language", "category")


def named_sets(
    names: Sequence[str],
    *,
    prompt_column: str = "prompt",
    harmful: bool | str | None = None,
    limit: int | None = None,
    system_prompt: str | None = None,
) -> list[PromptSet]:
    """The prompt sets that a command line names.

    Args:
        names: files, folders, hub ids, or names of public sets (`guard_reward.prompts.public_sets`).
        prompt_column, harmful: of files and hub ids; see `PromptSet`.
        limit: prompts per set, drawn at random.
        system_prompt: for prompts without one.

    >>> [entry.source for entry in named_sets(["xstest", "data/mine.jsonl"])]
    ['xstest-unsafe', 'xstest-safe', 'mine']
    """
    sets: list[PromptSet] = []
    for name in names:
        public = PUBLIC_SETS.get(name.lower()) if not Path(name).exists() else None
        sets += public or [PromptSet(name, prompt_column=prompt_column, harmful=harmful)]
    return [replace(entry, limit=limit, system_prompt=system_prompt) for entry in sets]


def load_rows(
    sets: Sequence[PromptSet], seed: int, *, response_column: str | None = None, thinking_column: str | None = None
) -> list[PromptRow]:
    """The prompts of the sets, in the sets' own order.

    Args:
        sets: a column ``harmful`` is the label of a set that does not say.
        seed: of the rows that a limit leaves.
        response_column: of recorded replies: a text, or a list of texts; ``<think>`` in front of an answer is its
            thinking.
        thinking_column: of their thinking, if it is apart.

    Raises:
        UserError: names the set and the row or column that is wrong.
    """
    for option, column in (("response_column", response_column), ("thinking_column", thinking_column)):
        if column in _OWN_COLUMNS:
            raise UserError(f"{option}: {column!r} is a column of the prompts, not of replies")
    rows: list[PromptRow] = []
    for entry in sets:
        label_column = entry.harmful if isinstance(entry.harmful, str) else _LABEL_COLUMN
        keep = [name for name in (label_column, response_column, thinking_column) if name]
        loaded = load_set(entry if isinstance(entry.harmful, bool) else replace(entry, harmful=None), seed, keep=keep)
        _check_replies(entry, loaded, response_column, thinking_column)
        for row in sorted(loaded, key=lambda row: row["row"]):
            replies = _replies(row, entry, response_column, thinking_column) if response_column else ()
            rows.append(
                PromptRow(
                    messages=row["prompt"],
                    source=row["source"],
                    harmful=entry.harmful if isinstance(entry.harmful, bool) else _label_of(row, entry, label_column),
                    language=row["language"] or None,
                    category=row["category"] or None,
                    replies=replies,
                )
            )
    return rows


def _check_replies(entry: PromptSet, loaded: Any, response_column: str | None, thinking_column: str | None) -> None:
    """Refuse a set without the columns that were named."""
    label_column = entry.harmful if isinstance(entry.harmful, str) else None
    for column, what in ((response_column, "replies"), (thinking_column, "thinking"), (label_column, "labels")):
        if column and all(value is None for value in loaded[column]):
            raise UserError(f"datasets: {entry.path} has no column {column!r} with {what}")


def _label_of(row: Mapping[str, Any], entry: PromptSet, column: str) -> bool | None:
    """Whether the prompt is harmful; None if its label is missing."""
    try:
        return read_label(None if row[column] == "" else row[column], column)  # an empty cell of a CSV file
    except ValueError as error:
        raise UserError(f"datasets: {entry.path}, row {row['row']} (the first is 0): {error}") from error


def _replies(
    row: Mapping[str, Any], entry: PromptSet, response_column: str, thinking_column: str | None
) -> tuple[Reply, ...]:
    where = f"datasets: {entry.path}, row {row['row']} (the first is 0), column {response_column!r}"
    texts = [row[response_column]] if isinstance(row[response_column], str) else row[response_column]
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise UserError(f"{where}: should be a text or a list of texts, found {shortened(row[response_column])}")
    thinking = row[thinking_column] if thinking_column else None
    if thinking is None:
        return tuple(_reply(text) for text in texts)
    thoughts = [thinking] if isinstance(thinking, str) else thinking
    are_texts = isinstance(thoughts, list) and all(isinstance(thought, str) for thought in thoughts)
    if not are_texts or len(thoughts) != len(texts):
        raise UserError(
            f"{where}: column {thinking_column!r} should have one text per reply, found {shortened(thinking)}"
        )
    return tuple(Reply(text, thought) for text, thought in zip(texts, thoughts, strict=True))


def _reply(text: str) -> Reply:
    thinking, answer = split_thinking(text)
    return Reply(answer, thinking)
