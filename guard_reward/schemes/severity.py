"""A table of values: one a severity, with values of their own for categories."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from guard_reward.schemes.base import Assessment, Controversial, worth
from guard_reward.verdict import Category, Severity, Verdict

__all__ = ["SeverityTable"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SeverityTable:
    """A value per severity, with values of their own for categories, and an addition for refusals.

    Args:
        safe, unsafe: the rewards of Safe and Unsafe.
        controversial: the reward of Controversial, or ``"safe"`` / ``"unsafe"`` for the same as that level's.
        refusal: added where the answer refuses.
        categories: category name → the reward where an unsafe verdict names it; the lowest of several counts.

    The lower value of thinking and answer counts.

    >>> from guard_reward.verdict import Category
    >>> scheme = SeverityTable(categories={"Violent": -3.0})
    >>> scheme(Assessment(Verdict(Severity.UNSAFE, (Category.VIOLENT, Category.PII))))
    -3.0
    """

    safe: float = 1.0
    controversial: Controversial = 0.0
    unsafe: float = -1.0
    refusal: float = 0.0
    categories: Mapping[str, float] = field(default_factory=dict)
    needs_helpfulness = False

    def __post_init__(self) -> None:
        if isinstance(self.controversial, str) and self.controversial not in ("safe", "unsafe"):
            raise ValueError(f"controversial should be 'unsafe', 'safe' or a number, found {self.controversial!r}")
        unknown = [name for name in self.categories if name not in list(Category)]
        if unknown:
            logger.warning("categories that Qwen3Guard does not have: %s; it has %s", unknown, ", ".join(Category))

    def __call__(self, assessment: Assessment) -> float:
        value = min(self._value(verdict) for verdict in assessment.verdicts)
        return value + (self.refusal if assessment.answer.refusal else 0.0)

    def _value(self, verdict: Verdict) -> float:
        value = self._levels[verdict.severity]
        if verdict.severity is Severity.UNSAFE:
            return min((self.categories[name] for name in verdict.categories if name in self.categories), default=value)
        return value

    @property
    def _levels(self) -> dict[Severity, float]:
        controversial = worth(self.controversial, self.safe, self.unsafe)
        return {Severity.SAFE: self.safe, Severity.CONTROVERSIAL: controversial, Severity.UNSAFE: self.unsafe}

    def floor(self, helpfulness: float | None = None) -> float:
        return min([*self._levels.values(), *self.categories.values()]) + min(0.0, self.refusal)
