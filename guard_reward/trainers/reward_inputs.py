"""What TRL can pass to reward functions and log of them: checked when the trainer is made, not in its first step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["check_columns", "check_names"]

_TAKEN = ("prompts", "completions")


def check_columns(datasets: Any) -> None:
    """Check that no column has the name of an argument that TRL itself passes to reward functions.

    Args:
        datasets: a dataset, a mapping of several, or None.

    Raises:
        ValueError: names the column.
    """
    for dataset in datasets.values() if isinstance(datasets, Mapping) else [datasets]:
        columns = getattr(dataset, "column_names", None) or ()
        if taken := [column for column in columns if column in _TAKEN]:
            raise ValueError(
                f"the dataset has a column {taken[0]!r}, and TRL passes an argument of that name to reward functions: "
                "rename the column"
            )


def check_names(names: Iterable[str]) -> None:
    """Check that reward functions differ in name: TRL logs them, and they log themselves, under their names.

    Raises:
        ValueError: names the name.

    >>> check_names(["guard", "brevity", "guard"])
    Traceback (most recent call last):
    ValueError: 2 reward functions have the name 'guard', so their logs could not be told apart: ...
    """
    for name, count in Counter(names).items():
        if count > 1:
            raise ValueError(
                f"{count} reward functions have the name {name!r}, so their logs could not be told apart: give each "
                "its own, as in GuardReward(..., name=...)"
            )
