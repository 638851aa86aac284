"""A table of rewards: one per severity, with separate values for single categories."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from guard_reward.schemes.base import Assessment, Scheme
from guard_reward.schemes.values import Controversial, check_finite, controversial_value, is_finite
from guard_reward.verdict import Severity, Verdict

__all__ = ["SeverityTable"]


@dataclass(frozen=True)
class SeverityTable(Scheme):
    """A reward per severity, separate rewards for categories, and an addition for refusals.

    Args:
        safe: the reward of Safe.
        unsafe: the reward of Unsafe.
        controversial: the reward of Controversial, or ``"safe"`` / ``"unsafe"`` for that level's reward.
        refusal: added if the answer refuses.
        categories: category name → the reward of an unsafe verdict with this category; the lowest of several counts.

    If thinking and answer are judged separately, the lower of their two values counts.

    >>> scheme = SeverityTable(categories={"Violent": -3.0})
    >>> scheme(Assessment(Verdict(Severity.UNSAFE, categories=("Violent", "PII"))))
    -3.0
    """

    safe: float = 1.0
    controversial: Controversial = 0.0
    unsafe: float = -1.0
    refusal: float = 0.0
    categories: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_finite(safe=self.safe, unsafe=self.unsafe, refusal=self.refusal)
        if self.controversial not in ("safe", "unsafe"):
            if not is_finite(self.controversial):
                raise ValueError(f"controversial should be 'unsafe', 'safe' or a number, found {self.controversial!r}")
            check_finite(controversial=self.controversial)
        _check_categories(self.categories)
        object.__setattr__(self, "categories", dict(self.categories))  # changes of the caller's do not reach it

    @property
    def needs_refusal(self) -> bool:  # type: ignore[override]
        return self.refusal != 0.0

    @property
    def category_names(self) -> tuple[str, ...]:
        """The names of the categories with a reward of their own; the scheme cannot know which ones a guard has."""
        return tuple(map(str, self.categories))

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
        controversial = controversial_value(self.controversial, self.safe, self.unsafe)
        return {Severity.SAFE: self.safe, Severity.CONTROVERSIAL: controversial, Severity.UNSAFE: self.unsafe}

    def floor(self, helpfulness: float | None = None) -> float:
        return min([*self._levels.values(), *self.categories.values()]) + min(0.0, self.refusal)


def _check_categories(categories: object) -> None:
    if not isinstance(categories, Mapping) or not all(isinstance(name, str) for name in categories):
        raise ValueError(f"categories should be a mapping from category name to number, found {categories!r}")
    check_finite(**{f"categories[{str(name)!r}]": value for name, value in categories.items()})
