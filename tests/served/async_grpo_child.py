"""What TRL's AsyncGRPO does with a reward in its process without GPU: its own loop object scores groups of rollouts."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from multiprocessing.connection import Connection
from typing import Any


def score(reward: Any, prompts: list[str], completions: list[list[str]], answer: Connection) -> None:
    """Score a group per prompt, all at a time, with `_score_group`, and send back (rewards, CUDA_VISIBLE_DEVICES)."""
    from accelerate.state import PartialState
    from trl.experimental.async_grpo import async_rollout_worker as trl_worker

    trl_worker._scrub_child_env()
    PartialState()
    loop = _rollout_loop(trl_worker, reward)
    groups = [_group(trl_worker, *pair) for pair in zip(prompts, completions, strict=True)]

    async def all_groups() -> list[Any]:
        return await asyncio.gather(*[loop._score_group(group) for group in groups])

    rewards = []
    for _ in range(2):
        samples = loop._loop.run_until_complete(all_groups())
        rewards.append([[sample.metrics["reward"] for sample in group] for group in samples])
    answer.send((rewards, os.environ["CUDA_VISIBLE_DEVICES"]))


def _rollout_loop(trl_worker: Any, reward: Any) -> Any:
    from datasets import Dataset

    from guard_reward.tiny.tokenizer import build_tokenizer

    context = multiprocessing.get_context("spawn")
    tokenizer = build_tokenizer("policy")
    tokenizer.response_template = {}  # TRL knows none for the tiny world's chat template; scoring needs none
    return trl_worker._AsyncRolloutLoop(
        model_name="policy",
        dataset=Dataset.from_list([{"prompt": "none"}]),
        reward_funcs=[reward],
        processing_class=tokenizer,
        eos_token_ids=[tokenizer.eos_token_id],
        rollout_buffer=context.Queue(),
        model_version_value=context.Value("i", 0),
        heartbeat_value=context.Value("d", 0.0),
        failed_event=context.Event(),
        exception_info_queue=context.Queue(1),
        metrics_queue=context.Queue(),
    )


def _group(trl_worker: Any, prompt: str, completions: list[str]) -> Any:
    count = len(completions)
    sequence = trl_worker.TrainingSequence(
        input_ids=[1, 2], completion_mask=[0, 1], old_log_probs=[0.0, -1.0], rollout_id=0
    )
    return trl_worker.RolloutGroup(
        prompts=[[{"role": "user", "content": prompt}]] * count,
        reward_kwargs={"kind": ["benign"] * count},
        completions=[[{"role": "assistant", "content": text}] for text in completions],
        completions_ids=[[7, 8]] * count,
        completions_sequences=[[sequence]] * count,
        tool_call_counts=[0] * count,
        tool_failure_counts=[0] * count,
        model_version=0,
        group_id=0,
        env_rewards=[None] * count,
        rollout_rewards=[None] * count,
    )
