"""Values of settings as YAML and JSON can have them: one of the field's type, or an error that names the field."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("transformers")

from guard_reward.errors import UserError
from guard_reward.launch.config import GuardRewardConfig, build_scheme, read_outcome_rewards
from guard_reward.launch.defences import build_defences
from guard_reward.rewards.defences import Defences, HelpfulnessRails

HUGE = 10**400  # JSON and YAML have integers of any size, floats end at 1e308


@pytest.mark.parametrize(
    ("value", "made"),
    [
        ({"window": "2000", "overlap": "5e-1"}, Defences(window=2000, overlap=0.5)),
        ({"window": None, "normalise": False}, Defences(normalise=False)),
        ({"helpfulness": {"high": "5e0", "low": None}}, Defences(helpfulness=HelpfulnessRails(high=5.0))),
    ],
)
def test_defences(value: Any, made: Defences) -> None:
    assert build_defences(value) == made


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"normalise": 0.9}, "defences: normalise should be true or false, found 0.9"),
        ({"language_switch": "false"}, "defences: language_switch should be true or false, found 'false'"),
        ({"overlap": "much"}, "defences: overlap should be a finite number, found 'much'"),
        ({"window": [1]}, r"defences: window should be a finite number, found \[1\]"),
        ({"window": 1000.5}, "defences: window should be a whole number, found 1000.5"),
        ({"helpfulness": {"high": HUGE}}, "defences: helpfulness: high should be a finite number, found 1000"),
        ({1: True}, "defences: there is no 1; there are normalise, "),
    ],
)
def test_wrong_defences(value: Any, message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}"):
        build_defences(value)


@pytest.mark.parametrize(
    ("scheme", "values", "message"),
    [
        ("hybrid", {"unsafe": HUGE}, r"scheme_kwargs: unsafe should be a finite number, found 10{76}\.\.\.$"),
        ("hybrid", {True: 1}, "scheme_kwargs: hybrid has no True; it has unsafe, "),
        (["hybrid"], None, r"scheme: there is no \['hybrid'\]; there are guard_only, "),
    ],
)
def test_wrong_values_of_schemes(scheme: Any, values: Any, message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}"):
        build_scheme(GuardRewardConfig("some/guard", scheme=scheme, scheme_kwargs=values))


def test_an_integer_that_no_float_can_hold_is_no_reward() -> None:
    with pytest.raises(UserError, match="on_outcome: empty should be a finite number, found 1000"):
        read_outcome_rewards({"empty": HUGE})
