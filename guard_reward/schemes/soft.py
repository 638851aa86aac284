"""Soft: the expected value of another scheme under the guard's probabilities."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from guard_reward.schemes.base import Assessment, Compliance, Scheme, Sign, as_scheme, named_scheme
from guard_reward.schemes.qwen3guard_report import GuardOnly
from guard_reward.schemes.values import Controversial
from guard_reward.verdict import Severity, Verdict

__all__ = ["Soft", "hard"]


@dataclass(frozen=True)
class Soft(Scheme):
    """The expected value of another scheme under the guard's probabilities.

        r = Σ P(severity of x) · P(severity of t) · P(severity of y) · P(refusal of y) · scheme(x, t, y, refusal)

    The reward differs between a guard that is 70% sure and one that is 99% sure. So rollouts with the same verdict
    still get different rewards, and GRPO has no groups without variance, which would teach it nothing. Prompt (if it is
    judged), thinking and answer are treated as independent. P(refusal) is conditioned on the severity and categories
    that the guard chose.

    Args:
        scheme: the scheme whose expectation is taken; any scheme that does not read the probabilities itself. A plain
            callable is wrapped in a `CallableScheme`. A plain name is deprecated: use ``make_scheme``.

    >>> from guard_reward.verdict import Probabilities
    >>> Soft()(Assessment(Verdict(Severity.SAFE, probabilities=Probabilities(0.7, 0.2, 0.1))))
    0.7
    """

    scheme: Scheme = field(default_factory=GuardOnly)
    needs_probabilities = True

    def __post_init__(self) -> None:
        # What the field holds is always a Scheme: plain callables and names are converted here.
        object.__setattr__(self, "scheme", _scheme_inside(self.scheme))
        if self.scheme.needs_probabilities:
            raise ValueError(
                f"{self.scheme.name} reads the guard's probabilities itself, so Soft would not change it: pass it "
                "without Soft"
            )

    # Properties in place of the base's class attributes: the scheme inside decides.
    @property
    def needs_helpfulness(self) -> bool:  # type: ignore[override]
        return self.scheme.needs_helpfulness

    @property
    def needs_prompt(self) -> bool:  # type: ignore[override]
        return self.scheme.needs_prompt

    @property
    def needs_refusal(self) -> bool:  # type: ignore[override]
        return self.scheme.needs_refusal

    @property
    def needs_tokens(self) -> bool:  # type: ignore[override]
        return self.scheme.needs_tokens

    @property
    def needs_text(self) -> bool:  # type: ignore[override]
        return self.scheme.needs_text

    @property
    def behaviours(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.scheme.behaviours

    @property
    def has_floor(self) -> bool:
        return self.scheme.has_floor

    def __call__(self, assessment: Assessment) -> float:
        return sum(probability * self.scheme(case) for probability, case in _cases(assessment) if probability)

    def looks_for(self, assessment: Assessment) -> Mapping[str, Sign]:
        """All that the scheme looks for in any case that has a probability, and in what the guard chose."""
        cases = [assessment, *(case for probability, case in _cases(assessment) if probability)]
        return {name: sign for case in cases for name, sign in self.scheme.looks_for(case).items()}

    def compliance(self, assessment: Assessment) -> Compliance | None:
        return self.scheme.compliance(assessment)

    def floor(self, helpfulness: float | None = None) -> float:
        return self.scheme.floor(helpfulness)

    def with_controversial(self, controversial: Controversial) -> Soft:
        return replace(self, scheme=self.scheme.with_controversial(controversial))

    def unwrap(self) -> Scheme:
        return self.scheme


def hard(scheme: Callable[[Assessment], float]) -> Callable[[Assessment], float]:
    """Deprecated: use `Scheme.unwrap`.

    Args:
        scheme: a scheme, or any function of an assessment.
    """
    warnings.warn("guard_reward.schemes.hard is deprecated: use scheme.unwrap()", DeprecationWarning, stacklevel=2)
    return scheme.unwrap() if isinstance(scheme, Scheme) else scheme


def _scheme_inside(scheme: object) -> Scheme:
    if not isinstance(scheme, str):
        return as_scheme(scheme)
    made = named_scheme(scheme)
    # At the line that calls Soft(...): between are this function, __post_init__ and the generated __init__.
    warnings.warn(
        f"a plain name in Soft is deprecated: use Soft(make_scheme({scheme!r}))", DeprecationWarning, stacklevel=4
    )
    return made


def _cases(assessment: Assessment) -> Iterator[tuple[float, Assessment]]:
    """Every combination of severities and refusal, with its probability."""
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
    yield verdict.refusal_probability, replace(verdict, refusal=True, refusal_probability=1.0)
    yield 1.0 - verdict.refusal_probability, replace(verdict, refusal=False, refusal_probability=0.0)
