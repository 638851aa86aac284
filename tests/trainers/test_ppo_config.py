"""Settings of PPO: what is refused, and with which words."""

from __future__ import annotations

import pytest

pytest.importorskip("trl")

from guard_reward.trainers import PPOConfig


def config(**changes):
    return PPOConfig(**{"output_dir": "runs/ppo", "use_cpu": True, "bf16": False, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gamma": 1.5}, r"gamma should be from 0 to 1, found 1\.5"),
        ({"lam": -0.1}, r"lam should be from 0 to 1, found -0\.1"),
        ({"vf_coef": -1.0}, "vf_coef should not be negative"),
        ({"beta": -0.1}, "beta should not be negative"),
        ({"value_learning_rate": 0.0}, "value_learning_rate should be positive"),
        ({"cliprange_value": 0.0}, r"cliprange_value should be positive or None"),
        ({"loss_type": "cispo"}, "loss_type='cispo' does not work with per-token advantages"),
        ({"loss_type": "dr_grpo"}, r"dapo, bnpo, grpo \(how tokens are averaged\)"),
        ({"off_policy_mask_threshold": 0.1}, "leave it out with PPO"),
        ({"importance_sampling_level": "sequence"}, "use 'token' with PPO, or GRPOTrainer for GSPO"),
        ({"scale_rewards": "group"}, "should be 'batch'"),
        ({"multi_objective_aggregation": "normalize_then_sum"}, "use 'sum_then_normalize'"),
        ({"num_generations": 3}, "divisible by num_generations"),
        (
            {"num_generations": 1, "per_device_train_batch_size": 3},
            "an even number of rollouts per round, found 3",
        ),
    ],
)
def test_settings_that_make_no_sense_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        config(**changes)


def test_one_sample_a_prompt():
    made = config(num_generations=1, per_device_train_batch_size=2)
    assert (made.num_generations, made.num_generations_eval) == (1, 1)


def test_sane_defaults():
    made = config()
    assert (made.gamma, made.lam, made.beta, made.epsilon, made.num_iterations) == (1.0, 0.95, 0.05, 0.2, 2)
    assert made.loss_type == "dapo"
