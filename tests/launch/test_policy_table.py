"""A policy table in a recipe's file and on the command line, and a rubric by its dotted path."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("transformers")

from guard_reward import schemes
from guard_reward.errors import UserError
from guard_reward.guards.specs.qwen3guard import QWEN3GUARD
from guard_reward.launch import GuardRewardConfig, build_reward
from guard_reward.launch.parsing import parse
from guard_reward.launch.record import recorded
from guard_reward.launch.same_run import setting_changes
from guard_reward.rewards.policy import PolicyFacts
from tests.scripted_guard import ScriptedGuard

FACTS = PolicyFacts(eos_token_ids=(2,), thinking_prefilled=False)
TABLE = {"Suicide & Self-Harm": "offer_help", "Violent: Controversial": "answer_with_caution", "default": "refuse"}
WORDS = {"offer_help": ["call 112", r"re:\b116.123\b"], "Violent: Controversial": "mind you"}
SCHEME = schemes.ResponsePolicy(TABLE, WORDS, signs=0.4, own_words=6)
YAML = r"""
guard: some/guard
scheme: response_policy
scheme_kwargs:
  policies:
    Suicide & Self-Harm: offer_help
    "Violent: Controversial": answer_with_caution
    default: refuse
  patterns:
    offer_help: [call 112, 're:\b116.123\b']
    "Violent: Controversial": mind you
  signs: 4e-1
  own_words: 6
"""


def strictness(completions: list[str], **_: Any) -> list[float]:
    """A rubric: what a dotted path can point to."""
    return [1.0] * len(completions)


@pytest.fixture(autouse=True)
def _loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replaces the loading of a guard; it has the categories of Qwen3Guard."""
    guard = SimpleNamespace(moderate=ScriptedGuard().moderate, spec=QWEN3GUARD)
    monkeypatch.setattr("guard_reward.launch.config.load_guard", lambda name, **_: guard)


def build(**values: Any) -> Any:
    return build_reward(GuardRewardConfig("some/guard", scheme="response_policy", **values), FACTS)


def test_in_yaml_and_on_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(YAML)
    (from_yaml,) = parse([GuardRewardConfig], "Train.", ["--config", str(file)])
    typed = json.dumps({"policies": TABLE, "patterns": WORDS, "signs": 0.4, "own_words": 6})
    (from_command,) = parse(
        [GuardRewardConfig], "Train.", ["--guard", "g", "--scheme", "response_policy", "--scheme_kwargs", typed]
    )
    for config in (from_yaml, from_command):
        assert build_reward(config, FACTS).scheme == SCHEME


def test_the_record_has_the_table_and_a_resumed_run_is_compared_with_it() -> None:
    config = GuardRewardConfig("g", scheme="response_policy", scheme_kwargs={"policies": TABLE, "patterns": WORDS})
    record = {"GuardRewardConfig": recorded(config)}
    assert record["GuardRewardConfig"]["scheme_kwargs"] == {"policies": TABLE, "patterns": WORDS}
    assert setting_changes(record, [config], "GuardRewardConfig") == {}
    other = {"policies": {**TABLE, "default": "answer"}, "patterns": WORDS}
    changed = GuardRewardConfig("g", scheme="response_policy", scheme_kwargs=other)
    assert setting_changes(record, [changed], "GuardRewardConfig") == {
        "scheme_kwargs.policies.default": ("refuse", "answer")
    }


def test_a_rubric_by_its_dotted_path() -> None:
    assert build(rubric="tests.launch.test_policy_table.strictness").rubric is strictness
    assert build().rubric is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"scheme_kwargs": {"policies": {"PII": "reufse"}}},
            "scheme_kwargs: policies['PII'] should be one of refuse, refuse_and_explain, offer_help, "
            "answer_with_caution, answer, found 'reufse'",
        ),
        ({"scheme_kwargs": {"policies": "refuse"}}, "scheme_kwargs: policies should be a mapping, found 'refuse'"),
        ({"scheme_kwargs": {"policies": {3: "refuse"}}}, "scheme_kwargs: policies: the key 3 should be a text"),
        (
            {"scheme_kwargs": {"patterns": {"offer": "x"}}},
            "scheme_kwargs: patterns['offer']: this is neither a behaviour",
        ),
        ({"scheme_kwargs": {"patterns": {"offer_help": ["re:("]}}}, "patterns['offer_help']: 're:(' is not a regular"),
        (
            {"scheme_kwargs": '{"policies": {"Self-Harm": "offer_help"}}'},
            "policies: the guard has no category Self-Harm; it has Violent, Non-violent Illegal Acts, ",
        ),
        (
            {"scheme_kwargs": {"policy": {}}},
            "scheme_kwargs: response_policy has no policy; it has policies, patterns, ",
        ),
        ({"rubric": "strict"}, "rubric: 'strict' should be the dotted path of a callable, such as my_rewards.rubric"),
        ({"rubric": "no_such.judge"}, "rubric: 'no_such.judge' cannot be imported: No module"),
        ({"rubric": "tests.launch.test_policy_table.YAML"}, "is not callable"),
    ],
)
def test_mistakes(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        build(**values)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
