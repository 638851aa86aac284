"""Rollouts that end where they become unsafe, from a recipe's file."""

from __future__ import annotations

from typing import Any

import pytest

from guard_reward import Severity
from guard_reward.errors import UserError
from guard_reward.launch import StoppingConfig, build_stopping
from guard_reward.tiny import build_tiny_guard, build_tiny_stream_guard


def test_without_a_guard_there_is_nothing() -> None:
    assert build_stopping(StoppingConfig()) is None
    with pytest.raises(UserError, match="stop_every needs stop_guard: name a stream guard, or leave stop_every"):
        build_stopping(StoppingConfig(stop_every=4))


def test_the_values_arrive() -> None:
    config = StoppingConfig(str(build_tiny_stream_guard()), stop_at="Controversial", stop_every=4, stop_sleep=True)
    stop = build_stopping(config)
    assert stop is not None
    assert (stop.stop_at, stop.every, stop.sleep) == (Severity.CONTROVERSIAL, 4, True)


def test_a_guard_that_the_run_has_already_is_not_loaded_again(tiny_stream_guard: Any) -> None:
    config = StoppingConfig(tiny_stream_guard.name)
    stop = build_stopping(config, [None, tiny_stream_guard])
    assert stop is not None
    assert stop.guard is tiny_stream_guard
    config.stop_device = "cpu"  # one of its own
    own = build_stopping(config, [tiny_stream_guard])
    assert own is not None
    assert own.guard is not tiny_stream_guard


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"stop_guard": "/nowhere"}, "stop_guard: '/nowhere' could not be loaded"),
        ({"stop_guard": str(build_tiny_guard())}, "StopUnsafe needs a stream guard"),
        ({"stop_every": 0}, "every should be at least 1"),
        ({"stop_at": "Safe"}, "stop_at should be"),
    ],
)
def test_mistakes_name_the_field(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_stopping(StoppingConfig(**{"stop_guard": str(build_tiny_stream_guard()), **values}))
