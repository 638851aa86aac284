"""What the trainers' tests share: a small random policy, prompts, and rewards that need no model."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.conftest import policy_folder, rows, settings  # noqa: F401  the fixture, and the helpers below


def count_of_letter(completions: list[Any], **columns: Any) -> list[float]:
    """More of one letter is better: a reward that varies between rollouts."""
    return [float(_text(completion).count("o")) for completion in completions]


def brevity(completions: list[Any], **columns: Any) -> list[float]:
    """Shorter is better."""
    return [-0.1 * len(_text(completion)) for completion in completions]


def _text(completion: Any) -> str:
    return completion if isinstance(completion, str) else completion[-1]["content"]


@pytest.fixture
def make_trainer(policy_folder: str, tmp_path: Any) -> Any:  # noqa: F811
    """A PPOTrainer on the random policy; keyword arguments change its config."""
    pytest.importorskip("trl")
    from datasets import Dataset

    from guard_reward.trainers import PPOConfig, PPOTrainer

    def make(
        form: str = "string",
        reward_funcs: Any = count_of_letter,
        peft_config: Any = None,
        token_reward_funcs: Any = (),
        tools: Any = None,
        **changes: Any,
    ) -> Any:
        data = Dataset.from_list(rows(form))
        return PPOTrainer(
            policy_folder,
            reward_funcs,
            PPOConfig(**settings(tmp_path / "run", gradient_checkpointing=False, **changes)),
            train_dataset=data,
            eval_dataset=data,
            peft_config=peft_config,
            token_reward_funcs=token_reward_funcs,
            **({} if tools is None else {"tools": tools}),
        )

    return make
