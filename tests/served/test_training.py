"""GRPO with a served guard pays what it pays with the same guard in the trainer's process, in an outage too."""

from __future__ import annotations

import threading

import pytest

pytest.importorskip("trl")

from trl import GRPOConfig, GRPOTrainer

from guard_reward import GuardReward
from guard_reward.tiny import build_tiny_policy
from guard_reward.tiny.grpo import DemoSettings, trainer_arguments, training_requests

pytestmark = pytest.mark.served
STEPS = 3
SETTINGS = DemoSettings(steps=STEPS, batch_size=16, num_generations=4, max_completion_length=24)


def train(guard, folder, *, before_call=lambda number: None):
    """The rewards of each step, and the policy's weights in the end."""
    reward, calls = GuardReward(guard, "severity"), []

    def recorded(**columns):
        before_call(len(calls))
        calls.append(reward(**columns))
        return calls[-1]

    trainer = GRPOTrainer(
        model=str(build_tiny_policy()),
        reward_funcs=recorded,
        args=GRPOConfig(**trainer_arguments(folder, seed=0, settings=SETTINGS)),
        train_dataset=training_requests(0, STEPS * 4, SETTINGS.harmful_share),
    )
    trainer.train()
    return calls, {name: value.clone() for name, value in trainer.model.state_dict().items()}


@pytest.fixture(scope="module")
def with_local_guard(local, tmp_path_factory):
    return train(local, tmp_path_factory.mktemp("local"))


def assert_equal(found, expected):
    (rewards, weights), (other_rewards, other_weights) = found, expected
    assert len(rewards) == STEPS
    assert None not in rewards[0]
    assert len({value for call in rewards for value in call}) > 1
    assert rewards == other_rewards
    assert all(value.equal(other_weights[name]) for name, value in weights.items())


def test_the_rewards_are_the_local_ones(vllm_url, connect, with_local_guard, tmp_path):
    assert_equal(train(connect(vllm_url), tmp_path), with_local_guard)


def test_a_server_that_is_away_for_seconds(proxy, connect, with_local_guard, tmp_path):
    """Shorter than the deadline: training waits."""
    server, restarters = proxy(), []

    def before_call(number):
        if number == 1:
            server.kill()
            restarters.append(threading.Timer(4, server.start))
            restarters[0].start()

    found = train(connect(server.url, deadline=90), tmp_path, before_call=before_call)
    restarters[0].join()
    assert_equal(found, with_local_guard)
