"""The alarm from a recipe's file."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("transformers")

from guard_reward import GuardReward
from guard_reward.errors import UserError
from guard_reward.launch import MonitorConfig, build_monitor
from guard_reward.launch.same_run import setting_changes
from tests.scripted_guard import ScriptedGuard


@pytest.fixture
def reward() -> GuardReward:
    return GuardReward(ScriptedGuard())


def test_nothing_is_watched_unless_asked_for(reward: GuardReward) -> None:
    assert build_monitor(MonitorConfig(), reward) is None


def test_texts_alone_need_no_second_guard(reward: GuardReward) -> None:
    monitor = build_monitor(MonitorConfig(monitor=True), reward)
    assert monitor is not None
    assert monitor.second_guard is None


def test_the_values_arrive(reward: GuardReward, tiny_stream_guard: Any) -> None:
    config = MonitorConfig(
        monitor=True,
        monitor_guard=tiny_stream_guard.name,
        monitor_sample=7,
        monitor_max_share=0.2,
        monitor_warmup_steps=3,
        monitor_action="stop",
        monitor_stop_on=["garbling", "empty"],
        monitor_deadline=5.0,
    )
    monitor = build_monitor(config, reward)
    assert monitor is not None
    described = monitor.describe()
    assert described.pop("second_guard")["guard"] == tiny_stream_guard.name
    assert described.pop("stop_on") == ["empty", "garbling"]
    assert described == {"action": "stop", "sample": 7, "max_share": 0.2, "warmup_steps": 3, "deadline": 5.0}


def test_a_guard_that_the_run_has_already_is_not_loaded_again(tiny_guard: Any, tiny_stream_guard: Any) -> None:
    reward = GuardReward(tiny_guard, shadow=tiny_stream_guard)
    monitor = build_monitor(MonitorConfig(monitor=True, monitor_guard=tiny_stream_guard.name), reward)
    assert monitor is not None
    assert monitor.second_guard is tiny_stream_guard


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"monitor": False, "monitor_guard": "x"}, "monitor_guard needs monitor: true"),
        ({"monitor_guard": "/nowhere"}, "monitor_guard: '/nowhere' could not be loaded"),
        ({"monitor_guard": "scripted"}, "monitor_guard is the guard itself"),
        ({"monitor_guard": "scripted", "monitor_dtype": "bfloat16"}, "monitor_guard is the guard itself"),
        ({"monitor_stop_on": ["lenght"]}, "monitor: stop_on has no signal"),
        ({"monitor_device": "cpu"}, "monitor_device: only with monitor_guard"),
        ({"monitor_sample": 0}, "monitor: sample should be at least 1"),
        ({"monitor_action": "halt"}, "monitor: action should be 'warn' or 'stop'"),
    ],
)
def test_mistakes_name_the_field(values: dict[str, Any], message: str, reward: GuardReward) -> None:
    with pytest.raises(UserError, match=message):
        build_monitor(MonitorConfig(**{"monitor": True, **values}), reward)


def test_it_may_change_when_a_run_resumes() -> None:
    before = {"GRPOConfig": {}, "MonitorConfig": {"monitor": False, "monitor_sample": 32}}
    assert setting_changes(before, [MonitorConfig(monitor=True, monitor_sample=8)], "GRPOConfig") == {}
