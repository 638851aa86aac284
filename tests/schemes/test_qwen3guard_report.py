"""The report's two equations."""

from __future__ import annotations

import pytest

from guard_reward.schemes import GuardOnly, Hybrid
from tests.schemes.assessments import judged


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


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Hybrid(unsafe=-1.0, refusal=-5.0), r"unsafe cap \(-1.0\) is above the refusal cap \(-5.0\)"),
        (lambda: Hybrid()(judged("safe")), r"needs helpfulness; pass GuardReward\(..., helpfulness=...\)"),
    ],
)
def test_bad_input_has_a_clear_error(build, message):
    with pytest.raises(ValueError, match=message):
        build()
