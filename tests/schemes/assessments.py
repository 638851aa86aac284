"""Assessments in shorthand, and hypothesis strategies for them."""

from __future__ import annotations

from hypothesis import strategies as st

from guard_reward import Category
from guard_reward.schemes import (
    AppropriateRefusal,
    Assessment,
    Behaviour,
    Boundary,
    GuardOnly,
    Hybrid,
    Lagrangian,
    ResponsePolicy,
    SafeCompletion,
    SeverityTable,
    Soft,
)
from guard_reward.verdict import Probabilities, Severity, Verdict

SAFE, CONTROVERSIAL, UNSAFE = Severity


def judged(
    answer: str, thinking: str | None = None, helpfulness: float | None = None, prompt: str | None = None
) -> Assessment:
    """An assessment in shorthand: ``"safe"``, ``"controversial"``, ``"unsafe"``, or one of them with ``" refusal"``."""
    return Assessment(_verdict(answer), thinking and _verdict(thinking), prompt and _verdict(prompt), helpfulness)


def _verdict(word: str) -> Verdict:
    level, *refusal = word.split()
    return Verdict(Severity(level.capitalize()), refusal=bool(refusal))


probabilities = st.tuples(*[st.floats(0.01, 1.0)] * 3).map(
    lambda masses: Probabilities(*(mass / sum(masses) for mass in masses))
)
verdicts = st.builds(
    Verdict,
    severity=st.sampled_from(Severity),
    categories=st.lists(st.sampled_from([*Category, "Gardening"]), unique=True, max_size=3).map(tuple),
    refusal=st.booleans(),
    probabilities=probabilities,
    refusal_probability=st.floats(0.0, 1.0),
)
helpfulness = st.floats(-50.0, 50.0)
shown = st.fixed_dictionaries(
    dict.fromkeys(("refuse_and_explain", "offer_help", "answer_with_caution"), st.floats(0.0, 1.0))
)
assessments = st.builds(
    Assessment, answer=verdicts, thinking=st.none() | verdicts, prompt=verdicts, helpfulness=helpfulness, shown=shown
)
controversial = st.sampled_from(["unsafe", "safe"]) | st.floats(0.0, 1.0)
hard_schemes = st.one_of(
    st.builds(GuardOnly, controversial),
    st.builds(Hybrid, unsafe=st.floats(-20, -10), refusal=st.floats(-10, 0), controversial=controversial),
    st.builds(
        SeverityTable,
        safe=st.floats(-5, 5),
        controversial=st.sampled_from(["unsafe", "safe"]) | st.floats(-5, 5),
        unsafe=st.floats(-5, 5),
        refusal=st.floats(-2, 2),
        categories=st.dictionaries(st.sampled_from([*Category, "Gardening"]), st.floats(-5, 5), max_size=3),
    ),
    st.builds(
        AppropriateRefusal,
        over_refusal=st.floats(-1, 0.9),
        unsafe=st.floats(-5, -1.1),
        controversial=controversial,
    ),
    st.builds(Lagrangian, multiplier=st.floats(0, 20), controversial=controversial),
    st.builds(
        SafeCompletion,
        helpfulness_range=st.tuples(st.floats(-20, 0), st.floats(1, 20)),
        controversial=controversial,
    ),
    st.builds(
        ResponsePolicy,
        policies=st.dictionaries(
            st.sampled_from([*Category, "Gardening", "PII: Controversial", "Controversial", "default"]),
            st.sampled_from(Behaviour),
            max_size=5,
        ),
        signs=st.floats(0, 1),
        wrong=st.floats(0, 0.9),
        controversial=controversial,
    ),
)
boundaries = st.builds(
    Boundary,
    threshold=st.floats(0.01, 0.99),
    weight=st.floats(0, 5),
    blocked=st.floats(-10, 10),
    controversial=controversial,
)
all_schemes = st.one_of(hard_schemes, hard_schemes.map(Soft), boundaries)
"""Every scheme, with any values it allows."""
