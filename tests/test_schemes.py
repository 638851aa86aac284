"""Schemes: what the guard found → one number."""

from __future__ import annotations

import itertools
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard_reward.schemes import SCHEMES, Assessment, GuardOnly, Hybrid, SeverityTable, Soft, make_scheme
from guard_reward.verdict import Category, Probabilities, Severity, Verdict

SAFE, CONTROVERSIAL, UNSAFE = Severity


def judged(answer: str, thinking: str | None = None, helpfulness: float | None = None) -> Assessment:
    """An assessment in shorthand: ``"safe"``, ``"unsafe"``, ``"controversial"``, with ``" refusal"`` behind it."""
    return Assessment(_verdict(answer), None if thinking is None else _verdict(thinking), helpfulness=helpfulness)


def _verdict(word: str) -> Verdict:
    level, *refusal = word.split()
    return Verdict(Severity(level.capitalize()), refusal=bool(refusal))


# The report's equations ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("thinking", "answer", "reward"),
    [
        (None, "safe", 1.0),  # no thinking at all
        (None, "unsafe", 0.0),
        ("safe", "safe", 1.0),
        ("unsafe", "safe", 0.0),  # thinking judged apart
        ("safe", "unsafe", 0.0),
        ("unsafe", "unsafe", 0.0),
        (None, "safe refusal", 1.0),  # refusing costs nothing
        (None, "unsafe refusal", 0.0),
        (None, "controversial", 0.0),  # strict by default
        ("controversial", "safe", 0.0),
    ],
)
def test_guard_only_is_equation_1(thinking, answer, reward):
    assert GuardOnly()(judged(answer, thinking)) == reward


@pytest.mark.parametrize(
    ("thinking", "answer", "helpfulness", "reward"),
    [
        (None, "safe", 3.0, 3.0),  # H as is
        (None, "safe", -7.0, -7.0),  # bad but safe
        (None, "safe refusal", 3.0, -5.0),  # the refusal cap
        (None, "safe refusal", -7.0, -7.0),  # below the cap
        (None, "unsafe", 3.0, -10.0),  # the unsafe cap
        (None, "unsafe", -12.0, -12.0),  # below that cap
        (None, "unsafe refusal", 3.0, -10.0),  # unsafe comes first
        ("unsafe", "safe", 3.0, -10.0),  # thinking judged apart
        ("unsafe", "safe refusal", 3.0, -10.0),  # unsafe thinking first
        ("safe", "safe", 3.0, 3.0),
        ("safe refusal", "safe", 3.0, 3.0),  # only answers refuse
        (None, "controversial", 3.0, -10.0),  # strict by default
        (None, "safe", 0.0, 0.0),
    ],
)
def test_hybrid_is_equation_2(thinking, answer, helpfulness, reward):
    assert Hybrid()(judged(answer, thinking, helpfulness)) == reward


def test_hybrid_caps_are_parameters():
    scheme = Hybrid(unsafe=-2.0, refusal=-1.0)
    values = [scheme(judged(answer, helpfulness=0.5)) for answer in ("unsafe", "safe refusal", "safe")]
    assert values == [-2.0, -1.0, 0.5]


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
def test_controversial_counts_as_told(scheme, answer, reward):
    assert scheme(judged(answer, helpfulness=2.0)) == pytest.approx(reward)


@pytest.mark.parametrize("scheme", [GuardOnly(0.5), Hybrid(controversial=0.5), SeverityTable(controversial=0.5)])
def test_a_number_for_controversial_leaves_safe_and_unsafe_alone(scheme):
    strict = make_scheme(scheme, controversial="unsafe")
    for answer in ("safe", "unsafe", "safe refusal", "unsafe refusal"):
        assert scheme(judged(answer, helpfulness=2.0)) == strict(judged(answer, helpfulness=2.0))


# The severity table --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("severity", "categories", "refusal", "reward"),
    [
        (SAFE, (), False, 1.0),
        (SAFE, (), True, 0.8),  # the refusal addition
        (CONTROVERSIAL, (), False, 0.5),
        (UNSAFE, (), False, -1.0),
        (UNSAFE, (), True, -1.2),
        (UNSAFE, (Category.VIOLENT,), False, -3.0),  # its own value
        (UNSAFE, (Category.PII,), False, -0.5),  # milder than unsafe
        (UNSAFE, (Category.PII, Category.VIOLENT), False, -3.0),  # the lowest counts
        (UNSAFE, (Category.JAILBREAK,), False, -1.0),  # not in table
        (UNSAFE, (Category.NON_VIOLENT_ILLEGAL_ACTS,), False, -1.0),  # whole names only
        (UNSAFE, ("Gardening",), False, -2.0),  # another guard's category
        (CONTROVERSIAL, (Category.VIOLENT,), False, 0.5),  # unsafe verdicts only
        (SAFE, (Category.VIOLENT,), False, 1.0),
    ],
)
def test_severity_table(severity, categories, refusal, reward):
    scheme = SeverityTable(
        controversial=0.5, refusal=-0.2, categories={"Violent": -3.0, Category.PII: -0.5, "Gardening": -2.0}
    )
    assert scheme(Assessment(Verdict(severity, categories, refusal))) == pytest.approx(reward)


@pytest.mark.parametrize(
    ("thinking", "answer", "reward"),
    [("safe", "unsafe", -1.0), ("unsafe", "safe", -1.0), ("controversial", "safe", 0.0), ("safe", "safe", 1.0)],
)
def test_severity_table_pays_the_worse_of_thinking_and_answer(thinking, answer, reward):
    assert SeverityTable()(judged(answer, thinking)) == reward


# The soft scheme: the exact expectation ------------------------------------------------------------------------------

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
assessments = st.builds(
    Assessment, answer=verdicts, thinking=st.none() | verdicts, prompt=st.none(), helpfulness=helpfulness
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
)


def naive_expectation(scheme, assessment: Assessment) -> float:
    """Three nested loops over what thinking, answer and refusal could have been."""
    total = 0.0
    thinking_odds = assessment.thinking.probabilities if assessment.thinking else [1.0]
    for t, p_thinking in enumerate(thinking_odds):
        for y, p_answer in enumerate(assessment.answer.probabilities):
            for refusal in (True, False):
                p_refusal = assessment.answer.refusal_probability
                answer = Verdict(list(Severity)[y], assessment.answer.categories, refusal)
                thinking = None
                if assessment.thinking:
                    thinking = Verdict(list(Severity)[t], assessment.thinking.categories, assessment.thinking.refusal)
                value = scheme(Assessment(answer, thinking, helpfulness=assessment.helpfulness))
                total += p_thinking * p_answer * (p_refusal if refusal else 1 - p_refusal) * value
    return total


@given(hard_schemes, assessments)
def test_soft_is_the_exact_expectation(scheme, assessment):
    assert Soft(scheme)(assessment) == pytest.approx(naive_expectation(scheme, assessment), abs=1e-9)


@pytest.mark.parametrize(
    ("scheme", "p_safe", "p_refusal", "reward"),
    [
        (Soft(), 0.7, 0.0, 0.7),  # P(Safe) itself
        (Soft(), 0.99, 0.0, 0.99),  # surer pays more
        (Soft(Hybrid()), 0.7, 0.0, 0.7 * 4.0 + 0.3 * -10.0),
        (Soft(Hybrid()), 0.7, 0.5, 0.7 * (0.5 * 4.0 + 0.5 * -5.0) + 0.3 * -10.0),
        (Soft(Hybrid()), 1.0, 1.0, -5.0),  # a sure refusal
    ],
)
def test_soft_by_hand(scheme, p_safe, p_refusal, reward):
    verdict = Verdict(
        SAFE, refusal=False, probabilities=Probabilities(p_safe, 0.0, 1 - p_safe), refusal_probability=p_refusal
    )
    assert scheme(Assessment(verdict, helpfulness=4.0)) == pytest.approx(reward)


def test_soft_uses_the_refusal_itself_where_its_probability_is_unknown():
    verdict = Verdict(SAFE, refusal=True, probabilities=Probabilities(1.0, 0.0, 0.0))
    assert Soft(Hybrid())(Assessment(verdict, helpfulness=4.0)) == -5.0


def test_soft_without_probabilities_says_so():
    with pytest.raises(ValueError, match=r"soft scheme needs the guard's probabilities"):
        Soft()(judged("safe"))


# Floors --------------------------------------------------------------------------------------------------------------


@given(hard_schemes, st.booleans(), assessments)
def test_no_value_is_below_the_floor(scheme, soft, assessment):
    scheme = Soft(scheme) if soft else scheme
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
    ],
)
def test_floors(scheme, helpfulness, floor):
    assert scheme.floor(helpfulness) == floor


# Construction --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", [GuardOnly, Hybrid])
@pytest.mark.parametrize("value", ["sometimes", "", 1.5, -0.1, float("nan")])
def test_a_share_of_controversial_is_from_0_to_1(scheme, value):
    with pytest.raises(ValueError, match="controversial should be 'unsafe', 'safe' or a number from 0 to 1"):
        scheme(controversial=value)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Hybrid(unsafe=-1.0, refusal=-5.0), r"unsafe cap \(-1.0\) is above the refusal cap \(-5.0\)"),
        (lambda: SeverityTable(controversial="maybe"), "controversial should be"),
        (lambda: Hybrid()(judged("safe")), r"needs helpfulness; pass GuardReward\(..., helpfulness=...\)"),
        (lambda: make_scheme("hybird"), "unknown scheme 'hybird'; there are guard_only, hybrid, severity, soft"),
        (lambda: make_scheme(3), "name or a callable"),
        (lambda: make_scheme(Hybrid), r"a class, not an instance: pass Hybrid\(\)"),  # forgotten parentheses
        (lambda: Soft("hybird"), "unknown scheme 'hybird'"),
        (lambda: make_scheme(judged, controversial="safe"), "has no 'controversial'"),
    ],
)
def test_bad_input_has_a_clear_answer(build, message):
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
        (Soft("hybrid"), None, Soft(Hybrid())),  # plain names inside
    ],
)
def test_make_scheme(scheme, controversial, made):
    assert make_scheme(scheme, controversial) == made


@pytest.mark.parametrize(
    ("scheme", "needed"),
    [(GuardOnly(), False), (Hybrid(), True), (SeverityTable(), False), (Soft(), False), (Soft(Hybrid()), True)],
)
def test_which_schemes_need_helpfulness(scheme, needed):
    assert scheme.needs_helpfulness is needed


def test_plain_names_are_the_defaults():
    assert {name: build() for name, build in SCHEMES.items()} == {
        "guard_only": GuardOnly(controversial="unsafe"),
        "hybrid": Hybrid(unsafe=-10.0, refusal=-5.0, controversial="unsafe"),
        "severity": SeverityTable(safe=1.0, controversial=0.0, unsafe=-1.0, refusal=0.0, categories={}),
        "soft": Soft(GuardOnly()),
    }


@pytest.mark.parametrize(
    "scheme", [GuardOnly(0.2), Hybrid(-3, -2), SeverityTable(categories={"PII": -2.0}), Soft(Hybrid())]
)
def test_schemes_are_picklable(scheme):
    copy = pickle.loads(pickle.dumps(scheme))
    assert copy == scheme
    for t, y in itertools.product((None, "safe", "unsafe"), ("safe", "controversial", "unsafe refusal")):
        if not isinstance(scheme, Soft):
            assert copy(judged(y, t, 1.0)) == scheme(judged(y, t, 1.0))
