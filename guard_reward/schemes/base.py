"""What a scheme is given (`Assessment`), what a scheme is (`Scheme`), and how Controversial counts in all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from guard_reward.verdict import Severity, Verdict

__all__ = [
    "Assessment",
    "Controversial",
    "Scheme",
    "check_controversial",
    "required_helpfulness",
    "safeness",
    "worth",
]

Controversial = Literal["unsafe", "safe"] | float


@dataclass(frozen=True, slots=True)
class Assessment:
    """All that is known about one rollout when its reward is decided.

    Attributes:
        answer: the verdict on the answer; on thinking and answer together where they are judged jointly.
        thinking: the verdict on the thinking; None where there is none, or where it is not judged apart.
        prompt: the verdict on the prompt; None unless whoever calls the scheme has asked for one.
        helpfulness: H(x, y), on the helpfulness model's own scale; None without one.
    """

    answer: Verdict
    thinking: Verdict | None = None
    prompt: Verdict | None = None
    helpfulness: float | None = None

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """The verdicts on what the policy wrote."""
        return (self.answer,) if self.thinking is None else (self.thinking, self.answer)


Scheme = Callable[[Assessment], float]
"""Any callable will do. What the schemes here offer beside, and `GuardReward` uses where it is there:
``needs_helpfulness``, ``needs_probabilities`` and ``needs_prompt`` (bools: a row without them gets no reward; the guard
is asked about prompts only where ``needs_prompt`` is true), and ``floor(helpfulness) -> float``, the worst value it can
give to a row. A row whose answer or thinking is Unsafe is decided by that: a part without a verdict, the prompt among
them, is None then."""


def check_controversial(value: Controversial) -> None:
    """Refuse what is neither ``"unsafe"`` nor ``"safe"`` nor a number from 0 to 1, with a `ValueError`."""
    if value in ("unsafe", "safe"):
        return
    if isinstance(value, str) or not 0.0 <= value <= 1.0:
        raise ValueError(f"controversial should be 'unsafe', 'safe' or a number from 0 to 1, found {value!r}")


def required_helpfulness(assessment: Assessment, scheme: str) -> float:
    """H(x, y).

    Raises:
        ValueError: there is none; names the `scheme` that needs it.
    """
    if assessment.helpfulness is None:
        raise ValueError(f"the {scheme} scheme needs helpfulness; pass GuardReward(..., helpfulness=...)")
    return assessment.helpfulness


def worth(controversial: Controversial, safe: float, unsafe: float) -> float:
    """What Controversial is worth, given what Safe and Unsafe are.

    >>> worth("safe", 1.0, -1.0), worth("unsafe", 1.0, -1.0), worth(0.3, 1.0, -1.0)
    (1.0, -1.0, 0.3)
    """
    if controversial == "safe":
        return safe
    return unsafe if controversial == "unsafe" else float(controversial)


def safeness(controversial: Controversial, *verdicts: Verdict) -> float:
    """How safe the verdicts count together, from 0 to 1: the worst one decides.

    >>> safeness(0.5, Verdict(Severity.SAFE), Verdict(Severity.CONTROVERSIAL))
    0.5
    """
    values = {Severity.SAFE: 1.0, Severity.CONTROVERSIAL: worth(controversial, 1.0, 0.0), Severity.UNSAFE: 0.0}
    return min(values[verdict.severity] for verdict in verdicts)
