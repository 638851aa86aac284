"""What a guard of any make returns, held against what it should return: a verdict per conversation, in their order."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from typing import Any

from guard_reward.errors import shortened
from guard_reward.verdict import Outcome, Probabilities, Severity, Unjudged, Verdict

__all__ = ["checked_verdicts"]


def checked_verdicts(found: Any, conversations: int) -> list[Verdict | Unjudged]:
    """The verdicts. One that is none, or whose probabilities are no numbers, is a ``guard_error`` of its row.

    Args:
        found: what ``moderate`` returned.
        conversations: how many it was asked about.

    Raises:
        TypeError: no list.
        ValueError: another number of verdicts: whose they are cannot be known.

    >>> checked_verdicts(["Safe"], 1)[0].reason
    "the guard gave 'Safe', which is neither a Verdict nor an Unjudged"
    """
    if inspect.isawaitable(found):
        if inspect.iscoroutine(found):
            found.close()
        raise TypeError("the guard's moderate is asynchronous: call it amoderate, or make it a plain function")
    if not isinstance(found, Sequence) or isinstance(found, str | bytes):
        raise TypeError(f"the guard's moderate should return a list of verdicts, found {type(found).__name__}")
    if len(found) != conversations:
        raise ValueError(f"the guard returned {len(found)} verdicts for {conversations} conversations")
    return [_checked(one) for one in found]


def _checked(one: Any) -> Verdict | Unjudged:
    if isinstance(one, Unjudged):
        return one
    if not isinstance(one, Verdict):
        return _fault(f"{shortened(one)}, which is neither a Verdict nor an Unjudged")
    severity: Any = one.severity
    if not isinstance(severity, Severity):
        return _fault(f"the severity {shortened(severity)}, which is no guard_reward.Severity")
    probabilities: Any = one.probabilities
    if probabilities is not None and not isinstance(probabilities, Probabilities):
        return _fault(f"the probabilities {shortened(probabilities)}, which are no guard_reward.Probabilities")
    optional = (number for number in (one.label_mass, one.refusal_probability) if number is not None)
    if not all(map(_is_finite, (*(probabilities or ()), *optional))):
        return _fault("probabilities that are not finite numbers")
    return one


def _is_finite(number: Any) -> bool:
    try:
        return math.isfinite(number)  # of any kind: a tensor's or NumPy's too
    except (TypeError, ValueError, OverflowError):
        return False


def _fault(what: str) -> Unjudged:
    return Unjudged(Outcome.GUARD_ERROR, reason=f"the guard gave {what}")
