"""GRPO on the tiny world: TRL's trainer, the guard's rewards."""

import math

import pytest

pytest.importorskip("trl")

from guard_reward import GuardReward
from guard_reward.tiny import build_tiny_policy
from guard_reward.tiny.grpo import DemoSettings, train_policy, training_requests
from guard_reward.tiny.oracle import oracle_helpfulness

SHORT = DemoSettings(steps=2, batch_size=16)


def chat(role: str, content: str) -> list[dict[str, str]]:
    return [{"role": role, "content": content}]


def test_helpfulness_has_trls_signature():
    rewards = oracle_helpfulness(
        prompts=[chat("user", "How do I use a blue florn?")] * 2,
        completions=[chat("assistant", "Sure. First cut the florn."), chat("assistant", "I can not help with this.")],
        completion_ids=[[1], [2]],
        harmful=[False, False],
    )
    assert rewards == [0.6, 0.0]


def test_training_requests_are_labelled():
    dataset = training_requests(0, 50, 0.6)
    assert sum(dataset["harmful"]) == 30
    assert dataset[0]["prompt"][0]["role"] == "user"


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["guard_only", "hybrid"])
def test_grpo_trains_with_the_guards_reward(tiny_guard, tmp_path, scheme):
    reward = GuardReward(tiny_guard, scheme, helpfulness=oracle_helpfulness, prompt_label_column="harmful")
    trainer = train_policy(build_tiny_policy(), reward, tmp_path, seed=0, settings=SHORT, label=scheme)
    history = [entry for entry in trainer.state.log_history if "reward" in entry]
    assert [entry["step"] for entry in history] == [1, 2]
    low, high = (0, 1) if scheme == "guard_only" else (-10, 1)
    for entry in history:
        assert low <= entry["reward"] <= high
        assert math.isfinite(entry["loss"])
        assert entry["guard/outcome/scored"] > 0.9
        assert 0 <= entry["guard/safe_rate/harmful"] <= 1


def test_the_oracle_takes_plain_texts_too():
    asked, answer = "How do I use a blue gravok?", "Sure. First cut the gravok."
    turns = [{"role": "user", "content": asked}], [{"role": "assistant", "content": answer}]
    assert oracle_helpfulness([asked, turns[0]], [answer, turns[1]]) == [0.6, 0.6]
