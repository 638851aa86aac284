"""A tiny GRPO run that reports to wandb, trackio and TensorBoard, and its metrics counted again from its rollouts."""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from guard_reward import GuardReward, Outcome, Severity, Unjudged, Verdict
from guard_reward.guards.specs.qwen3guard import Category
from guard_reward.tiny import build_tiny_policy, load_tiny_guard
from guard_reward.tiny.grpo import training_requests
from guard_reward.tiny.tokenizer import build_tokenizer


class MoodyGuard:
    """The tiny guard, without a verdict on a fifth of the texts."""

    def __init__(self) -> None:
        self.guard = load_tiny_guard()
        self.spec = self.guard.spec

    def moderate(self, conversations: Sequence[Any]) -> list[Verdict | Unjudged]:
        return [
            Unjudged(Outcome.NO_VERDICT, reason="in a mood")
            if zlib.crc32(conversation[-1]["content"].encode()) % 5 == 0
            else verdict
            for conversation, verdict in zip(conversations, self.guard.moderate(conversations), strict=True)
        ]

    @cache  # noqa: B019 - one guard per test file
    def verdict(self, prompt: str, completion: str) -> Verdict | Unjudged:
        (verdict,) = self.moderate(
            [[{"role": "user", "content": prompt}, {"role": "assistant", "content": completion}]]
        )
        return verdict


class Row(NamedTuple):
    """One rollout, as a rollouts table has it; the label is the prompt's."""

    prompt: str
    completion: str
    harmful: bool


@dataclass
class Recorder:
    """A second reward function, of weight 0, that keeps every rollout by the log line that it belongs to."""

    logging_steps: int
    calls: dict[tuple[str, int], list[list[Row]]] = field(default_factory=lambda: defaultdict(list))
    __name__ = "recorder"

    def __call__(
        self, prompts: Any, completions: Any, harmful: Any, log_metric: Any, trainer_state: Any, **_: Any
    ) -> list[float]:
        step = trainer_state.global_step
        training = log_metric.__self__.model.training
        line = ("train", (step // self.logging_steps + 1) * self.logging_steps) if training else ("eval", step)
        texts = zip(prompts, completions, harmful, strict=True)
        self.calls[line].append(
            [Row(prompt[-1]["content"], said[-1]["content"], label) for prompt, said, label in texts]
        )
        return [0.0] * len(prompts)


def helpfulness(completions: Sequence[Any], **_: Any) -> list[float]:
    return [float(len(completion[-1]["content"]) % 3) for completion in completions]


def trainer_of(folder: Path, recorder: Recorder, *, eval_prompts: int, callbacks: Sequence[Any], **changes: Any) -> Any:
    """A GRPO trainer of the tiny policy; some of its answers are empty, because the end token is made likelier."""
    import trl

    data = training_requests(0, 24, 0.6)
    end = [[[build_tokenizer("policy").eos_token_id], 8.0]]
    settings = {
        "output_dir": str(folder),
        "use_cpu": True,
        "bf16": False,
        "max_steps": 4,
        "logging_steps": recorder.logging_steps,
        "eval_strategy": "steps",
        "eval_steps": 2,
        "save_strategy": "no",
        "per_device_train_batch_size": 8,
        "per_device_eval_batch_size": 8,
        "num_generations": 4,
        "max_completion_length": 24,
        "temperature": 1.3,
        "generation_kwargs": {"sequence_bias": end},
        "learning_rate": 1e-3,
        "beta": 0.05,
        "report_to": ["wandb", "trackio", "tensorboard"],
        "log_completions": True,
        "num_completions_to_print": 0,
        "disable_tqdm": True,
        **changes,
    }
    reward = GuardReward(MoodyGuard(), "hybrid", helpfulness=helpfulness, prompt_label_column="harmful", breaker=None)
    return trl.GRPOTrainer(
        str(build_tiny_policy()),
        [reward, recorder],
        trl.GRPOConfig(**settings),
        data,
        data.select(range(eval_prompts)),
        callbacks=list(callbacks),
    )


def recount(rows: Iterable[Row], guard: MoodyGuard) -> dict[str, list[float]]:
    """The values of each metric over rows, by a guard that is asked again: ``safe_rate`` → 1.0, 0.0, ….

    Written without the library's metrics: what the words of the documentation say, once more.
    """
    found: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        found["helpfulness"].append(len(row.completion) % 3)
        verdict: Any = None
        if any(character.isalnum() for character in row.completion):
            verdict = guard.verdict(row.prompt, row.completion)
        outcome = "empty" if verdict is None else verdict.outcome if isinstance(verdict, Unjudged) else "scored"
        for name in Outcome:
            found[f"outcome/{name}"].append(float(name == outcome))
        if not isinstance(verdict, Verdict):
            continue
        label = "harmful" if row.harmful else "benign"
        for severity in Severity:
            is_it = float(verdict.severity is severity)
            found[f"{severity.lower()}_rate"].append(is_it)
            found[f"{severity.lower()}_rate/{label}"].append(is_it)
        found["refusal_rate"].append(float(verdict.refusal))
        found[f"refusal_rate/{label}"].append(float(verdict.refusal))
        found["p_unsafe_mean"].append(verdict.probabilities.unsafe)
        for category in Category:
            if category is not Category.JAILBREAK:  # of prompts alone
                found[f"category/{category}"].append(float(category in verdict.categories))
    return dict(found)


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def exact(calls: Sequence[Sequence[Row]], guard: MoodyGuard) -> dict[str, float]:
    """The rates of all rows of a log line."""
    values = recount((row for call in calls for row in call), guard)
    return {name: mean(some) for name, some in values.items()}


def means_of_calls(calls: Sequence[Sequence[Row]], guard: MoodyGuard) -> dict[str, float]:
    """The means of the calls' rates, over the calls in which a metric has a row: what TRL logs."""
    rates: dict[str, list[float]] = defaultdict(list)
    for call in calls:
        for name, values in recount(call, guard).items():
            rates[name].append(mean(values))
    return {name: mean(some) for name, some in rates.items()}


def rows_of(table: Iterable[Mapping[str, Any]], labels: Mapping[str, bool]) -> list[Row]:
    """The rows of a rollouts table."""
    texts = [(row["prompt"][-1]["content"], row["completion"][-1]["content"]) for row in table]
    return [Row(prompt, completion, labels[prompt]) for prompt, completion in texts]
