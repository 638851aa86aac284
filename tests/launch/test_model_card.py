"""What TRL's own model card says of the policy and of the model, for both trainers, whole and with LoRA."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer, ModelConfig

from guard_reward import GuardReward
from guard_reward.launch import write_record
from guard_reward.trainers import PPOConfig, PPOTrainer
from tests.integration.conftest import policy_folder, rows, settings  # noqa: F401  a fixture, and helpers
from tests.scripted_guard import ScriptedGuard

TRAINERS = {"GRPO": (GRPOTrainer, GRPOConfig), "PPO": (PPOTrainer, PPOConfig)}


@pytest.fixture
def make_card(policy_folder: str, tmp_path: Path) -> Callable[..., str]:  # noqa: F811
    """The card of a run before its first step."""

    def make(
        algorithm: str = "GRPO",
        policy: str = policy_folder,
        peft_config: Any = None,
        hub_id: Any = None,
        asked: str | None = None,
    ) -> str:
        trainer_class, config_class = TRAINERS[algorithm]
        reward = GuardReward(ScriptedGuard(), "guard_only")
        trainer = trainer_class(
            policy_folder,
            reward,
            config_class(**settings(tmp_path / "my \u201crun\u201d", gradient_checkpointing=False)),
            train_dataset=Dataset.from_list([{**row, "source": "x"} for row in rows("string")]),
            peft_config=peft_config,
        )
        trainer.model.config._name_or_path = policy
        trainer.hub_model_id = hub_id
        write_record(trainer, reward, [trainer.args, ModelConfig(model_name_or_path=asked)])
        return (Path(trainer.args.output_dir) / "README.md").read_text(encoding="utf-8")

    return make


@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize("algorithm", TRAINERS)
def test_a_policy_from_a_folder(
    make_card: Callable[..., str],
    policy_folder: str,  # noqa: F811
    tmp_path: Path,
    algorithm: str,
    lora: bool,
) -> None:
    from peft import LoraConfig

    adapter = LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM") if lora else None
    card = make_card(algorithm, peft_config=adapter)
    assert f"This model is a fine-tuned version of `{policy_folder}`.\n" in card
    assert f'model="{tmp_path}/my \u201crun\u201d", device_map' in card
    assert f"trained with {algorithm}" in card
    assert "None" not in card.split("## Guard used as the reward")[0]


@pytest.mark.parametrize(
    ("policy", "named"),
    [
        ("some/policy", "[some/policy](https://huggingface.co/some/policy)"),
        ("", "a model without a name"),
    ],
)
def test_a_policy_from_elsewhere(make_card: Callable[..., str], policy: str, named: str) -> None:
    assert f"This model is a fine-tuned version of {named}.\n" in make_card(policy=policy)


def test_a_policy_from_modelscope(make_card: Callable[..., str], policy_folder: str) -> None:  # noqa: F811
    card = make_card(asked="modelscope:Qwen/Qwen3-4B")
    assert "This model is a fine-tuned version of `modelscope:Qwen/Qwen3-4B`.\n" in card
    assert policy_folder not in card
    assert "base_model" not in card
    assert "huggingface.co/Qwen" not in card


def test_a_model_that_is_pushed_has_its_hub_id(make_card: Callable[..., str]) -> None:
    assert 'model="me/model"' in make_card(hub_id="me/model")
