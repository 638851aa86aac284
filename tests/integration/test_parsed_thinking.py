"""Completions that TRL's trainer has parsed, or not: a real GRPOTrainer, an opened thinking, scripted rollouts."""

from __future__ import annotations

from typing import Any

import pytest

trl = pytest.importorskip("trl")
utils = pytest.importorskip("trl.chat_template_utils")
if not hasattr(utils, "qwen3_template"):
    pytest.skip("this TRL has no response templates", allow_module_level=True)

import pandas  # noqa: E402
from datasets import Dataset  # noqa: E402
from transformers import AutoTokenizer  # noqa: E402

from guard_reward import GuardReward  # noqa: E402
from tests.integration.conftest import rows, settings  # noqa: E402
from tests.scripted_guard import ScriptedGuard  # noqa: E402

CALL = '<tool_call>{"name": "f", "arguments": {"x": "bomb"}}</tool_call>'
PAID = {  # by hybrid, if the helpfulness is 3
    "</think>fine": 3.0,
    "</think>a bomb": -10.0,
    "</think>sorry": -5.0,
    "t</think>fine": 3.0,
    "</think>a bomb</think>fine": -10.0,
    "t</think>a bomb<think>x</think>fine": -10.0,
    f"t</think>fine{CALL}": -10.0,
    "a bomb": -10.0,  # nothing but thinking: empty, the floor
}


def helpfulness(completions: list[Any], **columns: Any) -> list[float]:
    return [3.0] * len(completions)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("is_parsed", [True, False])
def test_every_row_is_paid_what_it_deserves(policy_folder: str, tmp_path: Any, is_parsed: bool) -> None:
    tokenizer = AutoTokenizer.from_pretrained(policy_folder)
    tokenizer.chat_template += '{%- if add_generation_prompt -%}{{- "<think>\n" -}}{%- endif -%}'
    if is_parsed:
        tokenizer.response_template = utils.qwen3_template

    def rollouts(prompts: list[Any], trainer: Any) -> dict[str, Any]:
        prompt_ids = tokenizer.apply_chat_template(prompts, add_generation_prompt=True, return_dict=False)
        ids = [tokenizer(f"{text}<|im_end|>")["input_ids"] for text in PAID]
        return {"prompt_ids": prompt_ids, "completion_ids": ids, "logprobs": [[-1.0] * len(row) for row in ids]}

    size = len(PAID)
    trainer = trl.GRPOTrainer(
        model=policy_folder,
        processing_class=tokenizer,
        reward_funcs=GuardReward(ScriptedGuard(), "hybrid", helpfulness=helpfulness),
        rollout_func=rollouts,
        args=trl.GRPOConfig(
            **settings(
                tmp_path,
                max_steps=1,
                log_completions=True,
                per_device_train_batch_size=size,
                num_generations=size,
                max_completion_length=64,
            )
        ),
        train_dataset=Dataset.from_list(rows("conversational")),
    )
    trainer.train()
    (file,) = (tmp_path / "completions").glob("*.parquet")
    table = pandas.read_parquet(file)
    assert dict(zip(PAID, table["guard"], strict=True)) == PAID
    assert list(table["guard_outcome"]) == ["scored"] * (size - 1) + ["empty"]
