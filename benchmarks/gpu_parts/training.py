"""The guard's share of a training step: TRL's own trainers, a policy with random weights, three steps.

The policy samples made-up words at random and never ends by itself, so every completion has the full length. Half of
the prompts carry the guard's marker: their completions are Unsafe, the others Safe. Within a group that is no
difference, and GRPO's advantages would all be 0; so a second reward function, `early_words`, counts the words of a
completion that begin with a letter of the alphabet's first half, which is different for every completion.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import torch
from shaped_guard import SHAPES, Shape
from shaped_tokenizer import shaped_tokenizer
from transformers import PrinterCallback, Qwen3Config, Qwen3ForCausalLM, TrainerCallback

from gpu_parts.bench import Bench, say
from gpu_parts.rows import Row
from gpu_parts.text import prompt
from guard_reward import GuardReward

STEPS = 3


def settings(options: argparse.Namespace, shape: str) -> list[Any]:
    """One per guard; a quick run has the largest guard only."""
    if options.quick and shape != options.shapes[-1]:
        return []
    rollouts, group_size = options.step_rollouts, options.groups[0]
    return [f"policy {options.policy_shape}, {rollouts} rollouts, G = {group_size}, {options.policy_tokens} tokens"]


def early_words(completions: list[Any], **columns: Any) -> list[float]:
    """The fraction of a completion's words that begin with a letter from a to m.

    >>> early_words([" babab zubab", " babab babob"])
    [0.5, 1.0]
    """
    texts = [text if isinstance(text, str) else text[-1]["content"] for text in completions]
    return [sum(word[0] <= "m" for word in text.split()) / max(1, len(text.split())) for text in texts]


def measure(bench: Bench, shape: str, setting: Any, *, name: str) -> Iterator[Row]:
    """One row: the guard's seconds and the step's, of the steps behind the first."""
    guard = bench.guard(shape)
    guard.warm_up()
    with tempfile.TemporaryDirectory() as folder:
        say("  building the policy")
        policy = _save_policy(bench, Path(folder) / "policy")
        trainer = _trainer(bench, name, policy, GuardReward(guard), Path(folder) / "run")
        clock = _StepClock(bench)
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(clock)
        bench.reset_peak_memory()
        trainer.train()
    lines = [line for line in trainer.state.log_history if "guard/seconds" in line]
    guard_seconds = [line["guard/seconds"] for line in lines]
    if len(guard_seconds) != STEPS or len(clock.seconds) != STEPS:
        raise RuntimeError(f"{len(clock.seconds)} steps and {len(guard_seconds)} calls of the guard, expected {STEPS}")
    step, spent = statistics.mean(clock.seconds[1:]), statistics.mean(guard_seconds[1:])
    yield Row(
        part=name,
        shape=shape,
        setting=setting,
        variant=f"{type(trainer).__name__}, guard {bench.runner}",
        rollouts_per_second=bench.options.step_rollouts / spent,
        peak_memory_bytes=bench.peak_memory(),
        passes_per_verdict=statistics.mean(line["guard/passes_per_verdict"] for line in lines),
        result=f"guard {spent:.2f} s of a step of {step:.2f} s: {spent / step:.1%}",
        numbers={
            "guard_seconds": guard_seconds,
            "step_seconds": clock.seconds,
            "guard_share": spent / step,
            "reward_std": [line["reward_std"] for line in lines],
        },
    )


measure_grpo, measure_ppo = partial(measure, name="grpo"), partial(measure, name="ppo")


class _StepClock(TrainerCallback):
    """Wall seconds of each optimizer step: sampling, rewards, backward."""

    def __init__(self, bench: Bench):
        self._bench, self._started = bench, 0.0
        self.seconds: list[float] = []

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self._bench.synchronize()
        self._started = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self._bench.synchronize()
        self.seconds.append(time.perf_counter() - self._started)


def _save_policy(bench: Bench, folder: Path) -> str:
    """A checkpoint with random weights."""
    sizes = {name: getattr(SHAPES[bench.options.policy_shape], name) for name in Shape.__dataclass_fields__}
    sizes["num_hidden_layers"] = bench.options.layers or sizes["num_hidden_layers"]
    tokenizer = shaped_tokenizer(is_guard=False)
    config = Qwen3Config(
        **sizes, tie_word_embeddings=True, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    torch.manual_seed(0)
    with torch.device(bench.device):
        Qwen3ForCausalLM(config).to(bench.dtype).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def _trainer(bench: Bench, name: str, policy: str, reward: GuardReward, out: Path) -> Any:
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    from guard_reward.trainers import PPOConfig, PPOTrainer

    options, rng = bench.options, Random(0)
    prompts = [[prompt(rng, unsafe=bool(n % 2))] for n in range(STEPS * options.step_rollouts // options.groups[0])]
    accumulated = max(1, options.step_rollouts // options.micro_batch)
    arguments = {
        "output_dir": str(out),
        "use_cpu": not bench.is_gpu,
        "bf16": bench.dtype == torch.bfloat16,
        "max_steps": STEPS,
        "per_device_train_batch_size": options.step_rollouts // accumulated,
        "gradient_accumulation_steps": accumulated,
        "num_generations": options.groups[0],
        "num_iterations": 1,
        "max_completion_length": options.policy_tokens,
        "learning_rate": 1e-6,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "model_init_kwargs": {"dtype": options.dtype},
    }
    trainer, config = (GRPOTrainer, GRPOConfig) if name == "grpo" else (PPOTrainer, PPOConfig)
    return trainer(policy, [reward, early_words], config(**arguments), Dataset.from_dict({"prompt": prompts}))
