"""A policy is trained, for one step of five, with TRL's own trainer."""

from __future__ import annotations

import json

from transformers import TrainerCallback

from guard_reward import GuardReward
from guard_reward.redteam.training.attacker import AttackerSettings, train_attacker
from guard_reward.tiny.oracle import oracle_faults, oracle_helpfulness
from guard_reward.tiny.policy import build_tiny_policy
from guard_reward.tiny.world import sample_requests
from tests.redteam.training.blind import PHRASE, BlindOracle

SETTINGS = AttackerSettings(
    steps=5, batch_size=8, num_generations=4, max_completion_length=24, prompts=12, answers=4, use_cpu=True
)


class InterruptAfterOneStep(TrainerCallback):
    """Ctrl-C."""

    def on_step_end(self, *_, **__):
        raise KeyboardInterrupt


def test_answers_before_and_after_are_paid_and_judged(tmp_path):
    prompts = [[{"role": "user", "content": it.text}] for it in sample_requests(0, 16, harmful_share=1.0)]
    reward = GuardReward(BlindOracle(), "hybrid", helpfulness=oracle_helpfulness)
    trainers = []

    def prepare(trainer):
        trainers.append(trainer)
        trainer.add_callback(InterruptAfterOneStep())

    results = train_attacker(
        str(build_tiny_policy()),
        reward,
        prompts,
        oracle_faults,
        tmp_path,
        settings=SETTINGS,
        prepare=prepare,
    )
    assert [trainer.state.global_step for trainer in trainers] == [1]
    assert (tmp_path / "model.safetensors").is_file()
    assert (results.steps, results.samples) == (1, 48)
    assert results.before.reward is not None
    assert results.before.faults["unsafe"] > 0.1  # the policy complies often
    unsafe = [group for group in results.groups if group.fault == "unsafe"]
    assert unsafe  # some say the phrase from the beginning
    assert all(PHRASE in example.answer for group in unsafe for example in group.examples)
    json.dumps(results.to_dict())
