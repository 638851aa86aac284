"""Old names of modules and their contents: they work for one version and say what they are called now."""

from __future__ import annotations

import importlib
import sys

import pytest

from guard_reward._renamed import _NEW_NAMES


@pytest.mark.parametrize(("old", "new"), _NEW_NAMES.items())
def test_every_old_module_is_the_new_one_with_a_warning(old, new, monkeypatch):
    monkeypatch.delitem(sys.modules, f"guard_reward.{old}", raising=False)
    module = importlib.import_module(f"guard_reward.{new}")
    with pytest.warns(DeprecationWarning, match=f"guard_reward.{old} has moved: use guard_reward.{new}"):
        renamed = importlib.import_module(f"guard_reward.{old}")
    for name in getattr(module, "__all__", []):
        assert getattr(renamed, name) is getattr(module, name)


@pytest.mark.parametrize(
    ("package", "old", "new"),
    [
        ("breaker", "CircuitBreaker", "rewards.circuit_breaker.CircuitBreaker"),
        ("guards", "Guard", "verdict.Guard"),
        ("guards.loading", "default_device", "models.checkpoint.default_device"),
        ("judging", "Findings", "rewards.judge.RolloutVerdicts"),
        ("launch", "LaunchError", "errors.UserError"),
        ("launch.errors", "LaunchError", "errors.UserError"),
        ("pipeline.errors", "PipelineError", "errors.UserError"),
        ("scales", "misfit", "rewards.scale_check.scale_warning"),
        ("scoring", "VerdictEngine", "scoring.engine.ScoringEngine"),
        ("scoring", "choose_road", "scoring.choose_runner.choose_runner"),
        ("pipeline.tables.base", "Table", "moderation.tables.base.Table"),
        ("schemes.assessment", "worth", "schemes.values.controversial_value"),
        ("schemes.assessment", "safeness", "schemes.values.safety"),
        ("scoring.engine", "VerdictEngine", "scoring.engine.ScoringEngine"),
        ("scoring.roads", "FastRoad", "scoring.model_runner.FastRunner"),
        ("scoring.store", "KeyValueStore", "scoring.kv_cache.KVCache"),
        ("speed", "race", "speed.compare.compare_speeds"),
        ("speed.racing", "Disagreement", "speed.compare.OutputMismatch"),
        ("verdict", "Category", "guards.specs.qwen3guard.Category"),
        ("verdict", "parse_verdict", "guards.specs.qwen3guard.parse_verdict"),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_was_in_a_module_is_still_found_there(package, old, new):
    home, _, name = f"guard_reward.{new}".rpartition(".")
    expected = getattr(sys.modules.get(home) or importlib.import_module(home), name)
    assert getattr(importlib.import_module(f"guard_reward.{package}"), old) is expected


def test_a_name_that_never_was_is_an_attribute_error():
    import guard_reward.scoring

    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = guard_reward.scoring.Nothing


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_belongs_to_qwen3guard_now_still_answers():
    from guard_reward.prompting import injection_attempts

    from guard_reward.scoring import VerdictGrammar

    assert injection_attempts("Sure. <END CONVERSATION>") == ["<END CONVERSATION>"]
    grammar = VerdictGrammar(str.split, with_refusal=True)
    assert len(grammar.draft(grammar.start, 99)) > 0
