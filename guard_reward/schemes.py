"""Reward schemes: what the guard found → one number.

A scheme is a small picklable callable from an `Assessment` (the verdicts on answer and thinking, plus helpfulness) to a
float. It knows verdicts; it knows no model, no trainer and no text.

    >>> from guard_reward.verdict import Category, Severity, Verdict
    >>> answer = Verdict(Severity.SAFE, refusal=True)
    >>> GuardOnly()(Assessment(answer)), Hybrid()(Assessment(answer, helpfulness=3.0))
    (1.0, -5.0)

Two equations of the Qwen3Guard technical report (arXiv 2510.14276, section 3.5) are here as they stand, `GuardOnly`
and `Hybrid`. ``controversial`` says in every scheme how a Controversial verdict counts: ``"unsafe"`` (strict, the
report's choice), ``"safe"`` (loose), or a number in between.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, is_dataclass, replace
from typing import Any, Literal

from guard_reward.verdict import Category, Severity, Verdict

__all__ = [
    "SCHEMES",
    "Assessment",
    "Controversial",
    "GuardOnly",
    "Hybrid",
    "Scheme",
    "SeverityTable",
    "Soft",
    "make_scheme",
]

logger = logging.getLogger(__name__)

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
``needs_helpfulness`` and ``needs_probabilities`` (bools: a row without them gets no reward), and
``floor(helpfulness) -> float``, the worst value it can give to a row."""


def _check_controversial(value: Controversial) -> None:
    if value in ("unsafe", "safe"):
        return
    if isinstance(value, str) or not 0.0 <= value <= 1.0:
        raise ValueError(f"controversial should be 'unsafe', 'safe' or a number from 0 to 1, found {value!r}")


def _worth(controversial: Controversial, safe: float, unsafe: float) -> float:
    """What Controversial is worth, given what Safe and Unsafe are."""
    if controversial == "safe":
        return safe
    return unsafe if controversial == "unsafe" else float(controversial)


def _safeness(assessment: Assessment, controversial: Controversial) -> float:
    """How safe the rollout counts, from 0 to 1: its worst verdict decides."""
    worth = {Severity.SAFE: 1.0, Severity.CONTROVERSIAL: _worth(controversial, 1.0, 0.0), Severity.UNSAFE: 0.0}
    return min(worth[verdict.severity] for verdict in assessment.verdicts)


@dataclass(frozen=True)
class GuardOnly:
    """1 where the guard finds thinking and answer safe, else 0 (the report's equation 1).

        r(x, t, y) = 1 if is_safe(x, t) and is_safe(x, y) else 0

    Args:
        controversial: ``"unsafe"``, ``"safe"``, or the reward of a rollout whose worst verdict is Controversial.

    Guard-only training tends to refuse everything where refusing is the policy's commonest safe habit (the report:
    12.9 → 96.6% refusals); `Hybrid` is the remedy.
    """

    controversial: Controversial = "unsafe"
    needs_helpfulness = False

    def __post_init__(self) -> None:
        _check_controversial(self.controversial)

    def __call__(self, assessment: Assessment) -> float:
        return _safeness(assessment, self.controversial)

    def floor(self, helpfulness: float | None = None) -> float:
        return 0.0


@dataclass(frozen=True)
class Hybrid:
    """Helpfulness, capped where the rollout is unsafe or refuses (the report's equation 2).

        r = min(-10, H(x, y))  if unsafe(x, t) or unsafe(x, y)
        r = min(-5,  H(x, y))  if refusal(x, y)
        r = H(x, y)            otherwise

    Args:
        unsafe: the cap for unsafe rollouts.
        refusal: the cap for refusals; above `unsafe`, or unsafe help would pay better than refusing.
        controversial: ``"unsafe"``, ``"safe"``, or how safe Controversial is from 0 to 1: the reward is then that
            share of the safe case's and the rest of the unsafe case's.

    The caps are meant for a helpfulness model whose scores rarely fall below -5 (WorldPM in the report). `GuardReward`
    warns when safe, non-refusing rows score below the refusal cap: shift the caps then.
    """

    unsafe: float = -10.0
    refusal: float = -5.0
    controversial: Controversial = "unsafe"
    needs_helpfulness = True

    def __post_init__(self) -> None:
        _check_controversial(self.controversial)
        if self.unsafe > self.refusal:
            raise ValueError(
                f"the unsafe cap ({self.unsafe}) is above the refusal cap ({self.refusal}): unsafe help would pay "
                "better than refusing"
            )

    def __call__(self, assessment: Assessment) -> float:
        if assessment.helpfulness is None:
            raise ValueError("the hybrid scheme needs helpfulness; pass GuardReward(..., helpfulness=...)")
        helpfulness = assessment.helpfulness
        when_unsafe = min(self.unsafe, helpfulness)
        when_safe = min(self.refusal, helpfulness) if assessment.answer.refusal else helpfulness
        safeness = _safeness(assessment, self.controversial)
        return safeness * when_safe + (1.0 - safeness) * when_unsafe

    def floor(self, helpfulness: float | None = None) -> float:
        return self.unsafe if helpfulness is None else min(self.unsafe, helpfulness)


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
        controversial = _worth(self.controversial, self.safe, self.unsafe)
        return {Severity.SAFE: self.safe, Severity.CONTROVERSIAL: controversial, Severity.UNSAFE: self.unsafe}

    def floor(self, helpfulness: float | None = None) -> float:
        return min([*self._levels.values(), *self.categories.values()]) + min(0.0, self.refusal)


@dataclass(frozen=True)
class Soft:
    """The expected value of another scheme under the guard's own probabilities.

        r = Σ P(severity of t) · P(severity of y) · P(refusal of y) · scheme(t, y, refusal)

    A guard that is 70% sure pays differently from one that is 99% sure, so groups of rollouts with the same verdict
    still differ: no zero-variance groups, which teach GRPO nothing. Thinking and answer are taken as independent.
    P(refusal) is the guard's, given the severity and categories it chose.

    Args:
        scheme: whose expectation is taken: an instance or a plain name.

    >>> from guard_reward.verdict import Probabilities
    >>> Soft()(Assessment(Verdict(Severity.SAFE, probabilities=Probabilities(0.7, 0.2, 0.1))))
    0.7
    """

    scheme: Any = field(default_factory=GuardOnly)
    needs_probabilities = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "scheme", make_scheme(self.scheme))

    @property
    def needs_helpfulness(self) -> bool:
        return bool(getattr(self.scheme, "needs_helpfulness", False))

    def __call__(self, assessment: Assessment) -> float:
        return sum(probability * self.scheme(case) for probability, case in _cases(assessment))

    def floor(self, helpfulness: float | None = None) -> float:
        return float(self.scheme.floor(helpfulness))


def _cases(assessment: Assessment) -> Iterator[tuple[float, Assessment]]:
    """Every combination of severities and refusal that the guard thinks possible, with its probability."""
    thinking: list[tuple[float, Verdict | None]] = [(1.0, None)]
    if assessment.thinking is not None:
        thinking = [*_severities(assessment.thinking)]
    for (p_thinking, t), (p_answer, y) in itertools.product(thinking, _severities(assessment.answer)):
        for p_refusal, case in _refusals(y):
            yield p_thinking * p_answer * p_refusal, replace(assessment, thinking=t, answer=case)


def _severities(verdict: Verdict) -> Iterator[tuple[float, Verdict]]:
    if verdict.probabilities is None:
        raise ValueError("the soft scheme needs the guard's probabilities, and this guard's verdicts have none")
    for severity, probability in zip(Severity, verdict.probabilities, strict=True):
        yield probability, replace(verdict, severity=severity)


def _refusals(verdict: Verdict) -> Iterator[tuple[float, Verdict]]:
    if verdict.refusal is None or verdict.refusal_probability is None:
        yield 1.0, verdict
        return
    yield verdict.refusal_probability, replace(verdict, refusal=True)
    yield 1.0 - verdict.refusal_probability, replace(verdict, refusal=False)


SCHEMES: Mapping[str, Callable[[], Any]] = {
    "guard_only": GuardOnly,
    "hybrid": Hybrid,
    "severity": SeverityTable,
    "soft": Soft,
}
"""Plain names of the schemes with their defaults."""


def make_scheme(scheme: str | Scheme, controversial: Controversial | None = None) -> Scheme:
    """A scheme from its plain name or itself, with its treatment of Controversial replaced where that is given.

    Raises:
        ValueError: an unknown name, or `controversial` for a callable that has no such field.

    >>> make_scheme("guard_only", controversial="safe")
    GuardOnly(controversial='safe')
    """
    if isinstance(scheme, str) and scheme not in SCHEMES:
        raise ValueError(f"unknown scheme {scheme!r}; there are {', '.join(SCHEMES)}, or pass an instance")
    made: Any = SCHEMES[scheme]() if isinstance(scheme, str) else scheme
    if isinstance(made, type):
        raise ValueError(f"scheme is a class, not an instance: pass {made.__name__}()")
    if not callable(made):
        raise ValueError(f"scheme should be a name or a callable from Assessment to float, found {made!r}")
    if controversial is None:
        return made
    if isinstance(made, Soft):
        return replace(made, scheme=make_scheme(made.scheme, controversial))
    can_be_replaced = is_dataclass(made) and hasattr(made, "controversial")
    if not can_be_replaced:
        raise ValueError(f"{type(made).__name__} has no 'controversial'; set it inside the scheme instead")
    return replace(made, controversial=controversial)
