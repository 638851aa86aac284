"""GRPO on the tiny world: the prompts, and TRL's own trainer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guard_reward.tiny.oracle import oracle_helpfulness
from guard_reward.tiny.world import sample_requests

if TYPE_CHECKING:
    from datasets import Dataset
    from trl import GRPOTrainer

__all__ = [
    "DemoSettings",
    "oracle_helpfulness",
    "train_policy",
    "trainer_arguments",
    "training_requests",
]


@dataclass(frozen=True, slots=True)
class DemoSettings:
    """How the demo trains and evaluates. The README's table was made with the defaults.

    Attributes:
        steps: optimizer steps of each run.
        batch_size: completions per step.
        num_generations: completions per prompt.
        learning_rate: at the first step; falls linearly to 0.
        beta: weight of the KL penalty; without it the policy drifts into nonsense.
        temperature: of sampling, in training and evaluation.
        max_completion_length: tokens.
        harmful_share: fraction of harmful prompts; with harmful ones alone, refusals spread to benign ones.
        evaluation_prompts: held-out requests, with one sampled reply each.
        agreement_conversations: held-out conversations on which the guard is compared with the oracle.
    """

    steps: int = 90
    batch_size: int = 64
    num_generations: int = 8
    learning_rate: float = 4e-4
    beta: float = 0.08
    temperature: float = 0.8
    max_completion_length: int = 40
    harmful_share: float = 0.6
    evaluation_prompts: int = 1000
    agreement_conversations: int = 1000


def training_requests(seed: int, count: int, harmful_share: float) -> Dataset:
    """A prompt dataset for TRL: ``prompt`` (messages) and ``harmful`` (bool), from the world's training split."""
    from datasets import Dataset

    requests = sample_requests(seed, count, harmful_share=harmful_share)
    return Dataset.from_dict(
        {
            "prompt": [[{"role": "user", "content": request.text}] for request in requests],
            "harmful": [request.harmful for request in requests],
        }
    )


def train_policy(
    policy_folder: Path, reward: Any, out: Path, *, seed: int, settings: DemoSettings, label: str
) -> GRPOTrainer:
    """Train the policy in `policy_folder` with TRL's `GRPOTrainer` on the CPU; the trainer has the trained model."""
    from trl import GRPOConfig, GRPOTrainer

    from guard_reward.monitoring.progress import Progress, show_progress

    trainer = GRPOTrainer(
        model=str(policy_folder),
        reward_funcs=reward,
        train_dataset=training_requests(
            seed, settings.steps * settings.batch_size // settings.num_generations, settings.harmful_share
        ),
        args=GRPOConfig(**trainer_arguments(out, seed=seed, settings=settings)),
    )
    show_progress(trainer, Progress(f"GRPO, {label.lower()}"))
    trainer.train()
    return trainer


def trainer_arguments(out: Path, *, seed: int, settings: DemoSettings) -> dict[str, Any]:
    """The demo's settings as arguments of TRL's `GRPOConfig`, on the CPU."""
    return {
        "output_dir": str(out),
        "seed": seed,
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "max_steps": settings.steps,
        "per_device_train_batch_size": settings.batch_size,
        "num_generations": settings.num_generations,
        "max_completion_length": settings.max_completion_length,
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": "linear",
        "beta": settings.beta,
        "temperature": settings.temperature,
        "loss_type": "grpo",
        "scale_rewards": "batch",
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
    }
