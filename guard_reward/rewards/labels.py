"""Prompt labels in a dataset's column: harmful, benign, or none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["read_label", "read_labels"]

_LABELS = {
    **dict.fromkeys(("harmful", "unsafe", "harm", "true", "1"), True),
    **dict.fromkeys(("benign", "safe", "harmless", "unharmful", "false", "0"), False),
}

_NEGATIONS = {"not", "non", "no", "un", "never"}


def read_labels(column: str | None, columns: Mapping[str, Any], rows: int) -> list[bool | None]:
    """Whether each prompt is labelled harmful; None for a row without a label.

    Args:
        column: the name of the column with the labels: bools, 0 and 1, or words, of which the last part counts
            (``adversarial_harmful``); None for no labels.
        columns: the dataset's columns, one value per row.
        rows: number of rows.

    Raises:
        ValueError: no such column, or a value that is not a label.

    >>> read_labels("kind", {"kind": ["vanilla_benign", 1, None]}, rows=3)
    [False, True, None]
    """
    if column is None:
        return [None] * rows
    if column not in columns:
        raise ValueError(
            f"prompt_label_column={column!r} is not a column of the dataset; "
            f"there are {', '.join(sorted(columns)) or 'no other columns'}"
        )
    return [read_label(value, column) for value in columns[column]]


def read_label(value: Any, column: str) -> bool | None:
    """Whether one value of the column says harmful; None for no label.

    Raises:
        ValueError: a value that is not a label; names the column.
    """
    if value is None:
        return None
    if isinstance(value, str):
        *before, word = value.lower().replace("-", "_").replace(" ", "_").split("_")
        if word in _LABELS and not _NEGATIONS.intersection(before):
            return _LABELS[word]
    elif value in (0, 1):
        return bool(value)
    raise ValueError(f"column {column!r} should hold bools, or words such as {', '.join(_LABELS)}; found {value!r}")
