"""Soft: a scheme's expected value under the guard's probabilities."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from guard_reward.schemes.base import Assessment, Scheme
from guard_reward.schemes.qwen3guard_report import GuardOnly
from guard_reward.verdict import Severity, Verdict

__all__ = ["Soft", "hard"]


@dataclass(frozen=True)
class Soft:
    """The expected value of another scheme under the guard's own probabilities.

        r = Σ P(severity of x) · P(severity of t) · P(severity of y) · P(refusal of y) · scheme(x, t, y, refusal)

    A guard that is 70% sure pays differently from one that is 99% sure, so groups of rollouts with the same verdict
    still differ: no zero-variance groups, which teach GRPO nothing. Prompt (where it is judged), thinking and answer
    are taken as independent. P(refusal) is the guard's, given the severity and categories it chose.

    Args:
        scheme: whose expectation is taken: an instance or a plain name; not one that reads the probabilities itself.

    >>> from guard_reward.verdict import Probabilities
    >>> Soft()(Assessment(Verdict(Severity.SAFE, probabilities=Probabilities(0.7, 0.2, 0.1))))
    0.7
    """

    scheme: Any = field(default_factory=GuardOnly)
    needs_probabilities = True

    def __post_init__(self) -> None:
        from guard_reward.schemes.registry import make_scheme  # which knows this class by its name

        object.__setattr__(self, "scheme", make_scheme(self.scheme))
        if getattr(self.scheme, "needs_probabilities", False):
            raise ValueError(
                f"{type(self.scheme).__name__} reads the guard's probabilities itself and Soft would not change it: "
                "pass it without Soft"
            )

    @property
    def needs_helpfulness(self) -> bool:
        return bool(getattr(self.scheme, "needs_helpfulness", False))

    @property
    def needs_prompt(self) -> bool:
        return bool(getattr(self.scheme, "needs_prompt", False))

    def __call__(self, assessment: Assessment) -> float:
        return sum(probability * self.scheme(case) for probability, case in _cases(assessment))

    def floor(self, helpfulness: float | None = None) -> float:
        return float(self.scheme.floor(helpfulness))


def hard(scheme: Scheme) -> Scheme:
    """The scheme itself, without `Soft` around it.

    >>> hard(Soft(GuardOnly())) == hard(GuardOnly()) == GuardOnly()
    True
    """
    return scheme.scheme if isinstance(scheme, Soft) else scheme


def _cases(assessment: Assessment) -> Iterator[tuple[float, Assessment]]:
    """Every combination of severities and refusal that the guard thinks possible, with its probability."""
    parts = (assessment.prompt, assessment.thinking, assessment.answer)
    for (p_x, x), (p_t, t), (p_y, y) in itertools.product(*map(_severities, parts)):
        for p_refusal, case in _refusals(y):
            yield p_x * p_t * p_y * p_refusal, replace(assessment, prompt=x, thinking=t, answer=case)


def _severities(verdict: Verdict | None) -> Iterator[tuple[float, Any]]:
    if verdict is None:
        yield 1.0, None
        return
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
