"""How the report's tables show values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

__all__ = ["Estimate", "estimate", "is_rate", "label", "text_of", "union_of_keys"]

_LABELS = {
    "run": "Run",
    "safety_rate": "Safe, harmful prompts",
    "safe_rate": "Safe, all prompts",
    "safe_rate_benign": "Safe, benign prompts",
    "unsafe_rate": "Unsafe, all prompts",
    "controversial_rate": "Controversial, all prompts",
    "refusal_rate": "Refused, all prompts",
    "refusal_rate_harmful": "Refused, harmful prompts",
    "refusal_rate_benign": "Refused, benign prompts",
    "garbled_rate": "Garbled",
    "helpfulness_harmful": "Helpfulness, harmful prompts",
    "helpfulness_benign": "Helpfulness, benign prompts",
    "p_unsafe": "P(unsafe)",
}


class Estimate(NamedTuple):
    """A measured value, with its confidence interval if that is known."""

    value: float
    low: float | None = None
    high: float | None = None

    def shown(self, *, as_rate: bool) -> str:
        """The value alone: a rate in percent."""
        return _number(self.value, as_rate)

    def interval(self, *, as_rate: bool) -> str:
        """The interval; empty if it is unknown."""
        if self.low is None or self.high is None:
            return ""
        return f"{_number(self.low, as_rate).removesuffix('%')}–{_number(self.high, as_rate)}"


def estimate(cell: Any) -> Estimate | None:
    """Read ``{"value": …, "low": …, "high": …}`` or a plain number; None for anything that is not a finite number.

    >>> estimate({"value": 0.5, "low": 0.45, "high": 0.55}).interval(as_rate=True)
    '45.0–55.0%'
    """
    if isinstance(cell, Mapping):
        numbers = [_finite(cell.get(key)) for key in ("value", "low", "high")]
    else:
        numbers = [_finite(cell), None, None]
    return None if numbers[0] is None else Estimate(numbers[0], numbers[1], numbers[2])


def is_rate(key: str) -> bool:
    """Whether a key names a rate in [0, 1]."""
    return any(word in key.split("_") for word in ("rate", "share", "agreement"))


def label(key: str) -> str:
    """A heading for a key: ``refusal_rate`` is *Refusal rate*."""
    words = key.replace("_", " ").strip()
    return _LABELS.get(key, words[:1].upper() + words[1:])


def text_of(value: Any) -> str:
    """Any cell of the rollouts table as text; chat messages as ``role: content`` lines.

    >>> text_of([{"role": "user", "content": "Hello"}]), text_of(True), text_of(0.123456), text_of(None)
    ('user: Hello', 'yes', '0.123', '')
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, Mapping):
        return f"{value['role']}: {text_of(value.get('content'))}" if "role" in value else str(dict(value))
    if isinstance(value, list | tuple):
        messages = all(isinstance(item, Mapping) for item in value)
        return ("\n" if messages else ", ").join(map(text_of, value))
    return str(value)


def union_of_keys(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """All keys, in the order of first appearance."""
    return list(dict.fromkeys(key for row in rows for key in row))


def _number(value: float, as_rate: bool) -> str:
    return f"{value:.1%}" if as_rate else f"{value:.2f}"


def _finite(value: Any) -> float | None:
    """A number as a float; None for NaN, infinities and anything that is not a number."""
    if isinstance(value, bool | str | bytes):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
