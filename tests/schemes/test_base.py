"""`Scheme`, the base class, and plain callables as schemes."""

from __future__ import annotations

import pickle
from dataclasses import dataclass

import pytest

from guard_reward.schemes import Assessment, CallableScheme, Hybrid, Scheme, Soft, make_scheme
from tests.schemes.assessments import judged


@dataclass(frozen=True)
class OwnScheme(Scheme):
    """The least that a scheme of one's own has to define."""

    def __call__(self, assessment: Assessment) -> float:
        return 0.5


def minus_rank(assessment: Assessment) -> float:
    return -float(assessment.answer.severity.rank)


@dataclass(frozen=True)
class FullCallable:
    """A plain callable with everything that a scheme may have, without the base class."""

    scale: float = 1.0
    controversial: str = "unsafe"
    needs_helpfulness = True
    needs_prompt = True

    def __call__(self, assessment: Assessment) -> float:
        return self.scale * (assessment.helpfulness or 0.0)

    def floor(self, helpfulness: float | None = None) -> float:
        return -2.0 if helpfulness is None else min(-2.0, helpfulness)


# The base class ------------------------------------------------------------------------------------------------------


def test_a_scheme_of_ones_own_needs_one_method():
    scheme = OwnScheme()
    assert scheme(judged("safe")) == 0.5
    assert (scheme.needs_helpfulness, scheme.needs_probabilities, scheme.needs_prompt) == (False, False, False)
    assert not scheme.has_floor
    assert scheme.unwrap() is scheme
    assert make_scheme(scheme) is scheme
    with pytest.raises(TypeError, match="abstract"):
        Scheme()


def test_without_a_floor_it_says_so():
    for scheme in (OwnScheme(), Soft(OwnScheme()), make_scheme(minus_rank)):
        with pytest.raises(NotImplementedError, match=r"has no floor\(helpfulness\)"):
            scheme.floor()


@pytest.mark.parametrize("scheme", [OwnScheme(), Soft(OwnScheme()), make_scheme(minus_rank), Soft(minus_rank)])
def test_without_a_field_for_controversial_it_says_so(scheme):
    with pytest.raises(ValueError, match=r"(OwnScheme|minus_rank) has no 'controversial'; set it inside the scheme"):
        scheme.with_controversial("safe")


def test_with_controversial_is_a_checked_copy():
    scheme = Hybrid(-20, -9)
    assert scheme.with_controversial("safe") == Hybrid(-20, -9, "safe")
    assert scheme == Hybrid(-20, -9)
    with pytest.raises(ValueError, match="controversial should be"):
        scheme.with_controversial("never")


# Plain callables -----------------------------------------------------------------------------------------------------


def test_a_plain_function_is_a_scheme():
    scheme = make_scheme(minus_rank)
    assert isinstance(scheme, CallableScheme)
    assert scheme(judged("unsafe")) == -2.0
    assert (scheme.needs_helpfulness, scheme.needs_probabilities, scheme.needs_prompt) == (False, False, False)
    assert not scheme.has_floor
    assert scheme.name == "minus_rank"


def test_what_a_callable_has_is_read():
    scheme = make_scheme(FullCallable(scale=3.0))
    assert (scheme.needs_helpfulness, scheme.needs_probabilities, scheme.needs_prompt) == (True, False, True)
    assert scheme.has_floor
    assert (scheme.floor(), scheme.floor(-4.0)) == (-2.0, -4.0)
    assert scheme(judged("safe", helpfulness=2.0)) == 6.0
    assert scheme.name == "FullCallable"
    assert make_scheme(FullCallable(), controversial="safe") == CallableScheme(FullCallable(controversial="safe"))
    soft = Soft(FullCallable())
    assert (soft.needs_helpfulness, soft.needs_probabilities, soft.needs_prompt) == (True, True, True)
    assert soft.floor(-4.0) == -4.0


def test_it_is_wrapped_once_equal_by_function_and_picklable():
    scheme = make_scheme(minus_rank)
    assert make_scheme(scheme) is scheme
    assert scheme == CallableScheme(minus_rank)
    assert hash(scheme) == hash(CallableScheme(minus_rank))
    assert scheme != make_scheme(judged)
    assert scheme != minus_rank
    assert repr(scheme) == repr(minus_rank)
    copy = pickle.loads(pickle.dumps(make_scheme(FullCallable(2.0))))
    assert copy == make_scheme(FullCallable(2.0))
    assert copy.needs_helpfulness
