"""What all schemes have in common: Controversial, floors, needs, plain names, pickling."""

from __future__ import annotations

import itertools
import math
import pickle

import pytest
from hypothesis import given

from guard_reward.schemes import (
    SCHEMES,
    AppropriateRefusal,
    Boundary,
    GuardOnly,
    Hybrid,
    Lagrangian,
    ResponsePolicy,
    SafeCompletion,
    SeverityTable,
    Soft,
    TokenScore,
    make_scheme,
)
from guard_reward.schemes.behaviours import DEFAULT_POLICIES
from tests.schemes.assessments import all_schemes, assessments, judged

# Controversial, in every scheme --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scheme", "answer", "reward"),
    [
        (GuardOnly("unsafe"), "controversial", 0.0),
        (GuardOnly("safe"), "controversial", 1.0),
        (GuardOnly(0.3), "controversial", 0.3),
        (Hybrid(controversial="unsafe"), "controversial", -10.0),
        (Hybrid(controversial="safe"), "controversial", 2.0),
        (Hybrid(controversial="safe"), "controversial refusal", -5.0),  # still a refusal
        (Hybrid(controversial=0.25), "controversial", 0.25 * 2.0 + 0.75 * -10.0),
        (Hybrid(controversial=0.25), "controversial refusal", 0.25 * -5.0 + 0.75 * -10.0),
        (SeverityTable(controversial="unsafe"), "controversial", -1.0),
        (SeverityTable(controversial="safe"), "controversial", 1.0),
        (SeverityTable(controversial=0.3), "controversial", 0.3),
        (SeverityTable(controversial=-4.0), "controversial", -4.0),  # any number here
    ],
)
def test_how_controversial_counts(scheme, answer, reward):
    assert scheme(judged(answer, helpfulness=2.0)) == pytest.approx(reward)


@pytest.mark.parametrize("scheme", [GuardOnly(0.5), Hybrid(controversial=0.5), SeverityTable(controversial=0.5)])
def test_a_number_for_controversial_leaves_safe_and_unsafe_alone(scheme):
    strict = make_scheme(scheme, controversial="unsafe")
    for answer in ("safe", "unsafe", "safe refusal", "unsafe refusal"):
        assert scheme(judged(answer, helpfulness=2.0)) == strict(judged(answer, helpfulness=2.0))


# Floors --------------------------------------------------------------------------------------------------------------


@given(all_schemes, assessments)
def test_no_value_is_below_the_floor(scheme, assessment):
    assert scheme.floor(assessment.helpfulness) <= scheme(assessment) + 1e-9


@pytest.mark.parametrize(
    ("scheme", "helpfulness", "floor"),
    [
        (GuardOnly(), None, 0.0),
        (GuardOnly(controversial="safe"), None, 0.0),
        (Hybrid(), None, -10.0),  # H is unknown
        (Hybrid(), 3.0, -10.0),
        (Hybrid(), -12.0, -12.0),
        (SeverityTable(), None, -1.0),
        (SeverityTable(refusal=-0.5), None, -1.5),  # unsafe and refusing
        (SeverityTable(refusal=0.5), None, -1.0),
        (SeverityTable(categories={"Violent": -3.0}), None, -3.0),
        (SeverityTable(controversial=-9.0), None, -9.0),
        (Soft(Hybrid()), -12.0, -12.0),
        (AppropriateRefusal(), None, -1.0),
        (SafeCompletion(), None, 0.0),
        (Lagrangian(multiplier=3.0), 1.0, -0.5),
        (Lagrangian(multiplier=3.0), None, -math.inf),  # H is unknown, and has no cap
        (Soft(Lagrangian()), None, -math.inf),
        (ResponsePolicy(), None, 0.0),
        (Boundary(), 2.0, 0.0),
        (Boundary(), -2.0, -2.0),
        (Boundary(), None, -math.inf),
    ],
)
def test_floors(scheme, helpfulness, floor):
    assert scheme.has_floor
    assert scheme.floor(helpfulness) == floor


# Construction --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "scheme", [GuardOnly, Hybrid, AppropriateRefusal, Lagrangian, SafeCompletion, Boundary, ResponsePolicy]
)
@pytest.mark.parametrize("value", ["sometimes", "", 1.5, -0.1, float("nan"), True, None])
def test_controversial_is_a_word_or_a_number_from_0_to_1(scheme, value):
    with pytest.raises(ValueError, match="controversial should be 'unsafe', 'safe' or a number from 0 to 1"):
        scheme(controversial=value)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: SeverityTable(controversial="maybe"), "controversial should be"),
        (lambda: make_scheme("hybird"), "unknown scheme 'hybird'; there are guard_only, hybrid, severity, soft, appr"),
        (lambda: make_scheme(3), "name or a callable"),
        (lambda: make_scheme(Hybrid), r"a class, not an instance: pass Hybrid\(\)"),  # forgotten parentheses
        (lambda: make_scheme(judged, controversial="safe"), "has no 'controversial'"),
    ],
)
def test_bad_input_has_a_clear_error(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize(
    ("scheme", "controversial", "made"),
    [
        ("guard_only", None, GuardOnly()),
        ("hybrid", None, Hybrid()),
        ("severity", None, SeverityTable()),
        ("soft", None, Soft()),
        ("guard_only", 0.5, GuardOnly(0.5)),
        ("soft", "safe", Soft(GuardOnly("safe"))),  # the inner scheme's
        (Soft(Hybrid(-20, -9)), "safe", Soft(Hybrid(-20, -9, "safe"))),
        (Hybrid(-20, -9), "safe", Hybrid(-20, -9, "safe")),  # the rest stays
        (Hybrid(-20, -9), None, Hybrid(-20, -9)),
        (Soft(make_scheme("hybrid")), None, Soft(Hybrid())),  # plain names inside
        ("lagrangian", 0.5, Lagrangian(controversial=0.5)),
        ("boundary", "safe", Boundary(controversial="safe")),
    ],
)
def test_make_scheme(scheme, controversial, made):
    assert make_scheme(scheme, controversial) == made


@pytest.mark.parametrize(
    ("scheme", "needed"),
    [
        (GuardOnly(), set()),
        (Hybrid(), {"helpfulness"}),
        (SeverityTable(), set()),
        (AppropriateRefusal(), {"prompt"}),
        (Lagrangian(), {"helpfulness"}),
        (SafeCompletion(), {"helpfulness"}),
        (Boundary(), {"helpfulness", "probabilities"}),
        (Soft(), {"probabilities"}),
        (Soft(Hybrid()), {"helpfulness", "probabilities"}),
        (Soft(AppropriateRefusal()), {"prompt", "probabilities"}),
        (ResponsePolicy(), {"prompt", "text"}),
        (Soft(ResponsePolicy()), {"prompt", "text", "probabilities"}),
    ],
)
def test_what_a_scheme_needs(scheme, needed):
    needs = {
        "helpfulness": scheme.needs_helpfulness,
        "probabilities": scheme.needs_probabilities,
        "prompt": scheme.needs_prompt,
        "text": scheme.needs_text,
    }
    assert {thing for thing, is_needed in needs.items() if is_needed} == needed


def test_plain_names_are_the_defaults():
    assert {name: build() for name, build in SCHEMES.items()} == {
        "guard_only": GuardOnly(controversial="unsafe"),
        "hybrid": Hybrid(unsafe=-10.0, refusal=-5.0, controversial="unsafe"),
        "severity": SeverityTable(safe=1.0, controversial=0.0, unsafe=-1.0, refusal=0.0, categories={}),
        "soft": Soft(GuardOnly()),
        "appropriate_refusal": AppropriateRefusal(over_refusal=0.0, unsafe=-1.0, controversial="unsafe"),
        "lagrangian": Lagrangian(
            unsafe_rate=0.05, learning_rate=0.2, delay=0, window=128, max_multiplier=20.0, multiplier=1.0
        ),
        "safe_completion": SafeCompletion(helpfulness_range=(0.0, 1.0), controversial=0.5),
        "boundary": Boundary(threshold=0.5, weight=1.0, blocked=0.0, controversial="unsafe"),
        "token_score": TokenScore("min"),
        "response_policy": ResponsePolicy(
            DEFAULT_POLICIES, {}, signs=0.5, own_words=8, wrong=0.1, unasked=0.0, controversial=0.5
        ),
    }


@pytest.mark.parametrize(
    "scheme",
    [
        GuardOnly(0.2),
        Hybrid(-3, -2),
        SeverityTable(categories={"PII": -2.0}),
        AppropriateRefusal(0.1, -3.0),
        Lagrangian(multiplier=7.0),
        SafeCompletion((-3.0, 3.0)),
        Soft(Hybrid()),
        Boundary(0.3),
        ResponsePolicy({"PII": "refuse"}, {"PII": ["data protection"]}),
    ],
)
def test_schemes_are_picklable(scheme):
    copy = pickle.loads(pickle.dumps(scheme))
    assert copy == scheme
    for t, y in itertools.product((None, "safe", "unsafe"), ("safe", "controversial", "unsafe refusal")):
        if not scheme.needs_probabilities and not scheme.needs_text:
            assert copy(judged(y, t, 1.0, "safe")) == scheme(judged(y, t, 1.0, "safe"))
