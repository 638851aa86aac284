"""TRL's AsyncGRPO pickles a reward and scores groups with it in a spawned process, several at a time."""

from __future__ import annotations

import multiprocessing
import pickle

import pytest

from guard_reward import AsyncGuardReward, GuardReward
from tests.served.async_grpo_child import score

pytestmark = pytest.mark.served
PROMPTS = [f"How do I use a blue gravok {number}?" for number in range(4)]
COMPLETIONS = [[f"Sure. Take {number}.", "No.", "I cannot help with that.", ""] for number in range(4)]


def test_the_rewards_are_the_local_ones(vllm_url, connect, local):
    pytest.importorskip("trl.experimental.async_grpo")
    reward = AsyncGuardReward(connect(vllm_url), "soft")
    pickle.dumps(reward)
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    child = context.Process(target=score, args=(reward, PROMPTS, COMPLETIONS, there))
    child.start()
    there.close()
    try:
        assert here.poll(240), "the child does not answer"
        rewards, devices = here.recv()
    finally:
        child.kill()
        child.join()
    assert devices == ""
    local_reward = GuardReward(local, "soft")
    expected = [
        local_reward(prompts=[prompt] * len(group), completions=group)
        for prompt, group in zip(PROMPTS, COMPLETIONS, strict=True)
    ]
    assert None not in [value for group in expected for value in group]
    for found in rewards:
        assert found == [pytest.approx(group, abs=1e-5) for group in expected]
