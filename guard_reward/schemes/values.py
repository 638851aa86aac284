"""The values in a scheme's fields: checks at construction, and what Controversial counts."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Literal, TypeGuard

from guard_reward.verdict import Severity, Verdict

__all__ = [
    "LARGEST",
    "Controversial",
    "check_controversial",
    "check_finite",
    "check_whole",
    "controversial_value",
    "is_finite",
    "safety",
]

LARGEST = 1e18
"""The largest number that a scheme may have; see `check_finite`."""

Controversial = Literal["unsafe", "safe"] | float
"""How a Controversial verdict counts: as Unsafe, as Safe, or a number in between."""


def is_finite(value: object) -> TypeGuard[float]:
    """Whether a value is a finite number. A bool is not a number here.

    >>> [is_finite(value) for value in (1, -2.5, float("nan"), "1", True, None)]
    [True, True, False, False, False, False]
    """
    if isinstance(value, bool) or not isinstance(value, Real):  # a bool is an integer in Python
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer of more than 308 digits
        return False


def check_finite(**values: object) -> None:
    """Check that every value is a finite number, and that rewards made of it stay finite in a trainer.

    Trainers keep rewards in single precision, where squares (for their standard deviation) of larger numbers than
    `LARGEST` become infinite.

    Raises:
        ValueError: names the field and the value.

    >>> check_finite(unsafe=-10.0, refusal=float("nan"))
    Traceback (most recent call last):
    ValueError: refusal should be a finite number, found nan
    """
    for name, value in values.items():
        if not is_finite(value):
            raise ValueError(f"{name} should be a finite number, found {value!r}")
        if abs(value) > LARGEST:
            raise ValueError(f"{name} should be from -{LARGEST:.0e} to {LARGEST:.0e}, found {value!r}")


def check_whole(**values: object) -> None:
    """Check that every value is an integer.

    Raises:
        ValueError: names the field and the value.
    """
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, Integral):
            raise ValueError(f"{name} should be a whole number, found {value!r}")


def check_controversial(value: object) -> None:
    """Check a field `controversial`.

    Raises:
        ValueError: neither ``"unsafe"`` nor ``"safe"`` nor a number from 0 to 1.
    """
    if value in ("unsafe", "safe"):
        return
    if not is_finite(value) or not 0.0 <= value <= 1.0:
        raise ValueError(f"controversial should be 'unsafe', 'safe' or a number from 0 to 1, found {value!r}")


def controversial_value(controversial: Controversial, safe: float, unsafe: float) -> float:
    """The value of Controversial, given the values of Safe and Unsafe.

    >>> controversial_value("safe", 1.0, -1.0), controversial_value("unsafe", 1.0, -1.0)
    (1.0, -1.0)
    >>> controversial_value(0.3, 1.0, -1.0)
    0.3
    """
    if controversial == "safe":
        return safe
    return unsafe if controversial == "unsafe" else float(controversial)


def safety(controversial: Controversial, *verdicts: Verdict) -> float:
    """How safe the verdicts are together, from 0 to 1. The worst one decides.

    >>> safety(0.5, Verdict(Severity.SAFE), Verdict(Severity.CONTROVERSIAL))
    0.5
    """
    values = {
        Severity.SAFE: 1.0,
        Severity.CONTROVERSIAL: controversial_value(controversial, 1.0, 0.0),
        Severity.UNSAFE: 0.0,
    }
    return min(values[verdict.severity] for verdict in verdicts)
