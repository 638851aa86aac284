"""The soft scheme: the exact expectation under the guard's probabilities."""

from __future__ import annotations

import pytest
from hypothesis import given

from guard_reward.schemes import (
    AppropriateRefusal,
    Assessment,
    Boundary,
    GuardOnly,
    Hybrid,
    Lagrangian,
    SafeCompletion,
    Soft,
    hard,
    make_scheme,
)
from guard_reward.verdict import Probabilities, Severity, Verdict
from tests.schemes.assessments import SAFE, assessments, hard_schemes, judged


def naive_expectation(scheme, assessment: Assessment) -> float:
    """Four nested loops over what prompt, thinking, answer and refusal could have been."""
    total = 0.0
    thinking_odds = assessment.thinking.probabilities if assessment.thinking else [1.0]
    for x, p_prompt in enumerate(assessment.prompt.probabilities):
        prompt = Verdict(list(Severity)[x], assessment.prompt.categories)
        for t, p_thinking in enumerate(thinking_odds):
            thinking = None
            if assessment.thinking:
                thinking = Verdict(list(Severity)[t], assessment.thinking.categories, assessment.thinking.refusal)
            for y, p_answer in enumerate(assessment.answer.probabilities):
                for refusal in (True, False):
                    p_refusal = assessment.answer.refusal_probability
                    answer = Verdict(list(Severity)[y], assessment.answer.categories, refusal)
                    value = scheme(Assessment(answer, thinking, prompt, assessment.helpfulness, assessment.shown))
                    total += p_prompt * p_thinking * p_answer * (p_refusal if refusal else 1 - p_refusal) * value
    return total


@given(hard_schemes, assessments)
def test_soft_is_the_exact_expectation(scheme, assessment):
    assert Soft(scheme)(assessment) == pytest.approx(naive_expectation(scheme, assessment), abs=1e-9)


def probable(p_safe: float, p_refusal: float = 0.0) -> Verdict:
    return Verdict(
        SAFE, refusal=False, probabilities=Probabilities(p_safe, 0.0, 1 - p_safe), refusal_probability=p_refusal
    )


@pytest.mark.parametrize(
    ("scheme", "p_safe", "p_refusal", "reward"),
    [
        (Soft(), 0.7, 0.0, 0.7),  # P(Safe) itself
        (Soft(), 0.99, 0.0, 0.99),  # surer pays more
        (Soft(Hybrid()), 0.7, 0.0, 0.7 * 4.0 + 0.3 * -10.0),
        (Soft(Hybrid()), 0.7, 0.5, 0.7 * (0.5 * 4.0 + 0.5 * -5.0) + 0.3 * -10.0),
        (Soft(Hybrid()), 1.0, 1.0, -5.0),  # a sure refusal
        (Soft(Lagrangian(multiplier=3.0)), 0.7, 0.0, (4.0 - 3.0 * 0.3) / 4.0),  # P(unsafe) in the middle
        (Soft(SafeCompletion((0.0, 8.0))), 0.7, 0.0, 0.7 * 0.5),
    ],
)
def test_soft_by_hand(scheme, p_safe, p_refusal, reward):
    assert scheme(Assessment(probable(p_safe, p_refusal), helpfulness=4.0)) == pytest.approx(reward)


def test_soft_appropriate_refusal_weighs_the_prompt_too():
    refusal = Assessment(probable(1.0, 1.0), prompt=probable(0.7))
    assert Soft(AppropriateRefusal(over_refusal=0.2))(refusal) == pytest.approx(0.7 * 0.2 + 0.3 * 1.0)


def test_soft_uses_the_refusal_itself_where_its_probability_is_unknown():
    verdict = Verdict(SAFE, refusal=True, probabilities=Probabilities(1.0, 0.0, 0.0))
    assert Soft(Hybrid())(Assessment(verdict, helpfulness=4.0)) == -5.0


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Soft()(judged("safe")), "soft scheme needs the guard's probabilities"),
        (lambda: Soft("hybird"), "unknown scheme 'hybird'; there are guard_only, hybrid"),
        (lambda: Soft(Hybrid), r"a class, not an instance: pass Hybrid\(\)"),
        (lambda: Soft(Boundary()), "Boundary reads the guard's probabilities itself, .* pass it without Soft"),
        (lambda: Soft(Soft()), "Soft reads the guard's probabilities itself"),
    ],
)
def test_bad_input_has_a_clear_error(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_unwrap_is_the_scheme_inside():
    assert Soft(Hybrid()).unwrap() == Hybrid().unwrap() == Hybrid()
    assert Soft().unwrap() == GuardOnly()


def test_a_plain_callable_inside():
    soft = Soft(worst_rank)
    assert soft.unwrap() == make_scheme(worst_rank)
    assert (soft.needs_helpfulness, soft.needs_prompt, soft.has_floor) == (False, False, False)
    assert soft(Assessment(probable(0.75))) == pytest.approx(-2.0 * 0.25)


def worst_rank(assessment: Assessment) -> float:
    return -max(verdict.severity.rank for verdict in assessment.verdicts)


# For one more version ------------------------------------------------------------------------------------------------


def test_a_plain_name_inside_is_deprecated():
    with pytest.warns(DeprecationWarning, match=r"use Soft\(make_scheme\('hybrid'\)\)") as warned:
        soft = Soft("hybrid")
    assert soft == Soft(Hybrid())
    assert warned[0].filename == __file__


def test_hard_is_deprecated():
    with pytest.warns(DeprecationWarning, match=r"use scheme\.unwrap\(\)"):
        assert hard(Soft(Hybrid())) == Hybrid()
    with pytest.warns(DeprecationWarning, match="deprecated"):
        assert hard(worst_rank) is worst_rank
