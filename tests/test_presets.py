"""Presets: reward functions under a dotted path, told by environment variables which models to use."""

from __future__ import annotations

import pickle

import pytest

import guard_reward.guards
from guard_reward import presets
from guard_reward.schemes import SCHEMES, AppropriateRefusal, GuardOnly, ResponsePolicy, SeverityTable, Soft
from tests.scripted_guard import ScriptedGuard


@pytest.fixture
def loads(monkeypatch):
    """Presets with a scripted guard behind them; the list of what was asked of ``load_guard``."""
    calls = []

    def load_guard(model, revision=None):
        calls.append((model, revision))
        return ScriptedGuard()

    monkeypatch.setattr(guard_reward.guards, "load_guard", load_guard)
    for name in ("MODEL", "REVISION", "HELPFULNESS"):
        monkeypatch.delenv(f"GUARD_REWARD_{name}", raising=False)
    _forget()
    yield calls
    _forget()


def _forget():
    presets._guard.cache_clear()
    presets._reward.cache_clear()


BATCH = {"prompts": ["How?"] * 4, "completions": ["fine", "a bomb", "edgy", ""]}


@pytest.mark.parametrize(
    ("preset", "scheme", "rewards"),
    [
        (presets.guard_only, GuardOnly(), [1.0, 0.0, 0.0, 0.0]),
        (presets.severity, SeverityTable(), [1.0, -1.0, 0.0, -1.0]),
        (presets.soft, Soft(), [0.9, 0.05, 0.2, 0.0]),
        (presets.appropriate_refusal, AppropriateRefusal(), [1.0, -1.0, -1.0, -1.0]),
        (presets.response_policy, ResponsePolicy(), [0.91, 0.0, 0.455, 0.0]),  # the guard says P(refusal) 0.1
    ],
)
def test_each_preset_is_the_scheme_of_its_name(loads, preset, scheme, rewards):
    assert preset(**BATCH) == pytest.approx(rewards)
    assert presets._reward(preset.__name__).scheme == scheme


@pytest.mark.parametrize(
    ("preset", "rewards"),
    [
        (presets.hybrid, [2.0, -10.0, -10.0, -10.0]),
        (presets.lagrangian, [1.0, 0.5, 0.5, 0.5]),  # (2 - λ · unsafe) / (1 + λ), λ = 1
        (presets.safe_completion, [1.0, 0.0, 0.5, 0.0]),  # 2 is clipped to 1
        (presets.boundary, [2.8, 0.9, 0.6, 0.0]),  # P(not safe) 0.1, 0.95, 0.8
    ],
)
def test_helpfulness_is_taken_from_the_environment(loads, monkeypatch, preset, rewards):
    import guard_reward.rewards.reward_model

    asked = []
    monkeypatch.setenv("GUARD_REWARD_HELPFULNESS", "some/reward-model")
    monkeypatch.setattr(
        guard_reward.rewards.reward_model,
        "make_helpfulness",
        lambda source, **_: asked.append(source) or (lambda completions, **batch: [2.0] * len(completions)),
    )
    assert preset(**BATCH) == pytest.approx(rewards)
    assert presets._reward(preset.__name__).scheme == SCHEMES[preset.__name__]()
    assert asked == ["some/reward-model"]


@pytest.mark.parametrize("preset", ["hybrid", "lagrangian", "safe_completion", "boundary"])
def test_without_helpfulness_it_says_which_variable_is_missing(loads, preset):
    with pytest.raises(ValueError, match=f"the {preset} preset needs GUARD_REWARD_HELPFULNESS"):
        getattr(presets, preset)(**BATCH)
    assert loads == []  # before any model is loaded


@pytest.mark.parametrize(
    ("environment", "loaded"),
    [
        ({}, ("Qwen/Qwen3Guard-Gen-0.6B", None)),  # the default
        ({"MODEL": "Qwen/Qwen3Guard-Gen-4B"}, ("Qwen/Qwen3Guard-Gen-4B", None)),
        ({"MODEL": "/models/guard", "REVISION": "abc123"}, ("/models/guard", "abc123")),
    ],
)
def test_which_guard_is_loaded(loads, monkeypatch, environment, loaded):
    for name, value in environment.items():
        monkeypatch.setenv(f"GUARD_REWARD_{name}", value)
    presets.guard_only(**BATCH)
    assert loads == [loaded]


def test_one_guard_a_process_loaded_when_it_is_needed(loads):
    assert loads == []
    for _ in range(2):
        presets.guard_only(**BATCH)
        presets.soft(**BATCH)
    assert len(loads) == 1


def test_every_scheme_has_a_preset_of_its_name():
    assert set(presets.__all__) == {"DEFAULT_GUARD", *SCHEMES}


@pytest.mark.parametrize("preset", [getattr(presets, name) for name in SCHEMES])
def test_presets_are_plain_functions_that_pickle_by_name(preset):
    assert pickle.loads(pickle.dumps(preset)) is preset
