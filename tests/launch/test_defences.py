"""The field ``defences``: what a file and a command line can say, and how mistakes are named."""

from __future__ import annotations

import sys
from typing import Any

import pytest

pytest.importorskip("transformers")
pytest.importorskip("trl")

from guard_reward import Defences, HelpfulnessRails
from guard_reward.errors import UserError
from guard_reward.launch import GuardRewardConfig, build_reward
from guard_reward.launch.defences import build_defences
from guard_reward.launch.same_run import setting_changes
from guard_reward.rewards.policy import PolicyFacts
from tests.scripted_guard import ScriptedGuard


@pytest.mark.parametrize(
    ("value", "defences"),
    [
        (None, Defences()),
        ("default", Defences()),
        ("off", Defences.off()),
        ("strict", Defences.strict()),
        ('{"window": 2000, "language_switch": true}', Defences(window=2000, language_switch=True)),
        ({"window": "2000", "normalise": False}, Defences(window=2000, normalise=False)),
        ({"helpfulness": {"high": 5, "per_word": 0.01}}, Defences(helpfulness=HelpfulnessRails(high=5, per_word=0.01))),
        ({}, Defences()),
    ],
)
def test_what_a_file_can_say(value, defences):
    assert build_defences(value) == defences


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("on", "defences: should be off, default, strict or JSON, found 'on'"),
        ("[1]", "defences: should be off, default, strict or a mapping, found [1]"),
        ({"windows": 2000}, "defences: there is no windows; there are normalise, degenerate, language_switch, window"),
        ({"window": 10}, "defences: window should be at least 200 characters, found 10"),
        ({"window": "wide"}, "defences: window should be a finite number, found 'wide'"),
        ({"window": 250.5}, "defences: window should be a whole number, found 250.5"),
        ({"normalise": "no"}, "defences: normalise should be true or false, found 'no'"),
        ({"helpfulness": {"high": "NaN"}}, "defences: helpfulness: high should be a finite number, found 'NaN'"),
        ({"overlap": 2}, "defences: overlap should be from 0 to 0.9, found 2"),
        ({"helpfulness": 5}, "defences: helpfulness: should be a mapping of low, high, free_words, per_word, found 5"),
        ({"helpfulness": {"low": 2, "high": 1}}, "defences: helpfulness: low (2) should be below high (1)"),
        ({"helpfulness": {"most": 1}}, "defences: helpfulness: there is no most; there are low, high"),
    ],
)
def test_mistakes_are_named(value, message):
    with pytest.raises(UserError) as error:
        build_defences(value)
    assert message in str(error.value)
    assert str(error.value).startswith("defences: ")


@pytest.fixture
def guard(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A guard that is there already; it has no name to load it by."""
    guard = ScriptedGuard()
    monkeypatch.setattr("guard_reward.launch.config.load_guard", lambda name, **_: guard)
    return guard


def build(**values: Any) -> Any:
    return build_reward(GuardRewardConfig("some/guard", **values), PolicyFacts((2,), thinking_prefilled=False))


def test_the_reward_has_them_and_its_record_names_them(guard):
    reward = build(defences='{"window": 2000}')
    assert reward.defences == Defences(window=2000)
    assert reward.describe()["defences"] == repr(Defences(window=2000))
    assert build(defences="off").defences == Defences.off()


def test_a_mistake_is_found_before_a_guard_is_loaded(monkeypatch):
    monkeypatch.setattr("guard_reward.launch.config.load_guard", pytest.fail)
    with pytest.raises(UserError, match="defences: there is no windo"):
        build(defences={"windo": 2000})


def test_a_command_line_can_say_them(monkeypatch):
    from trl import TrlParser

    monkeypatch.setattr(sys, "argv", ["recipe", "--guard", "some/guard", "--defences", "strict"])
    [config] = TrlParser([GuardRewardConfig]).parse_args_and_config()
    assert build_defences(config.defences) == Defences.strict()


def test_another_choice_is_another_run():
    before = {"GuardRewardConfig": {"guard": "some/guard", "defences": "off"}}
    configs = [GuardRewardConfig("some/guard", defences="strict")]
    assert setting_changes(before, configs, "GuardRewardConfig") == {"defences": ("off", "strict")}
