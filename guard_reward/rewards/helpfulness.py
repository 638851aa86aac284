"""H of the rows of a batch: whatever a helpfulness function raises or returns, each has a finite number or None."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from typing import Any

from guard_reward.errors import shortened

__all__ = ["finite_numbers", "no_numbers"]

logger = logging.getLogger(__name__)


def finite_numbers(values: Any, rows: int) -> list[float | None]:
    """What a helpfulness function returned, as one number per row; None for what is no finite number.

    Raises:
        ValueError: another number of values than of rows.

    >>> finite_numbers([1, None, float("nan")], rows=3)
    [1.0, None, None]
    """
    if not isinstance(values, Iterable) or isinstance(values, str | bytes):
        raise ValueError(
            f"the helpfulness function should return a number per completion, found {type(values).__name__}"
        )
    found = list(values)
    if len(found) != rows:
        raise ValueError(f"the helpfulness function returned {len(found)} values for {rows} completions")
    numbers = [_number(value) for value in found]
    strange = [value for value, number in zip(found, numbers, strict=True) if number is None and value is not None]
    if strange:
        logger.warning(
            "the helpfulness function gave %s: %d of %d values are no numbers",
            shortened(strange[0]),
            len(strange),
            rows,
        )
    return [number if number is not None and math.isfinite(number) else None for number in numbers]


def no_numbers(error: Exception, rows: int) -> list[float | None]:
    """What the rows have whose helpfulness function raised `error`, which is logged."""
    logger.error("the helpfulness function failed on %d completions", rows, exc_info=error)
    return [None] * rows


def _number(value: Any) -> float | None:
    if isinstance(value, str | bytes):
        return None
    try:
        return float(value)
    except Exception:  # of any type, such as a tensor with several numbers
        return None
