"""A stream guard in a recipe's file: rewards per token, refusals, a shadow."""

from __future__ import annotations

from typing import Any

import pytest

from guard_reward import StreamReward
from guard_reward.errors import UserError
from guard_reward.launch import GuardRewardConfig, StreamRewardConfig, build_reward, build_stream_rewards
from guard_reward.rewards.policy import PolicyFacts
from guard_reward.tiny import build_tiny_guard, build_tiny_stream_guard

FACTS = PolicyFacts(eos_token_ids=(2,), thinking_prefilled=False)


def test_without_a_stream_guard_there_is_nothing() -> None:
    assert build_stream_rewards(StreamRewardConfig()) == []
    with pytest.raises(UserError, match="stream_weight needs stream_guard"):
        build_stream_rewards(StreamRewardConfig(stream_weight=10.0))


def test_the_values_arrive() -> None:
    config = StreamRewardConfig(
        str(build_tiny_stream_guard()), stream_device="cpu", stream_weight=3.0, stream_form="shaping"
    )
    (reward,) = build_stream_rewards(config)
    assert isinstance(reward, StreamReward)
    assert (reward.weight, reward.form) == (3.0, "shaping")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"stream_guard": "/nowhere"}, "stream_guard: '/nowhere' could not be loaded"),
        ({"stream_weight": -1.0}, "weight should be a positive number"),
        ({"stream_form": "both"}, "form should be 'penalty' or 'shaping'"),
        ({"stream_guard": str(build_tiny_guard())}, "StreamReward needs a stream guard"),
    ],
)
def test_mistakes_name_the_field(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_stream_rewards(StreamRewardConfig(**{"stream_guard": str(build_tiny_stream_guard()), **values}))


def test_a_reward_with_a_stream_guard_a_refusal_guard_and_a_shadow() -> None:
    gen, stream = str(build_tiny_guard()), str(build_tiny_stream_guard())
    config = GuardRewardConfig(stream, scheme="appropriate_refusal", refusal_guard=gen, shadow_guard=gen)
    reward = build_reward(config, FACTS)
    assert (reward.guard.name, reward.refusal.name, reward.shadow.name) == (stream, gen, gen)
    with pytest.raises(UserError, match="pass refusal="):
        build_reward(GuardRewardConfig(stream, scheme="appropriate_refusal"), FACTS)
    with pytest.raises(UserError, match="shadow_guard: '/nowhere' could not be loaded"):
        build_reward(GuardRewardConfig(gen, shadow_guard="/nowhere"), FACTS)
