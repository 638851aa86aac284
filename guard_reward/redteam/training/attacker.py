"""Training a small policy against a reward with TRL's GRPO, and what it is paid for before and after."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from guard_reward.evaluation.policies.sampling import sample_completions
from guard_reward.redteam.attack import Draft
from guard_reward.redteam.judging import Judging
from guard_reward.redteam.training.faults import FaultJudge
from guard_reward.redteam.training.hacks import Sample, TrainingResults, compare
from guard_reward.rewards.reward import GuardReward
from guard_reward.thinking import split_thinking

if TYPE_CHECKING:
    from trl import GRPOTrainer

__all__ = ["AttackerSettings", "train_attacker"]

Prompt = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class AttackerSettings:
    """How the policy is trained and sampled.

    Attributes:
        steps: optimizer steps.
        batch_size: completions per step.
        num_generations: completions per prompt.
        learning_rate: at the first step; falls linearly to 0.
        beta: weight of the KL penalty. 0 lets the policy go wherever it is paid.
        temperature: of sampling, in training and before and after it.
        max_completion_length: tokens.
        prompts: that are sampled before and after.
        answers: per prompt.
        use_cpu: train on the CPU even if there is an accelerator.
    """

    steps: int = 100
    batch_size: int = 64
    num_generations: int = 8
    learning_rate: float = 1e-5
    beta: float = 0.0
    temperature: float = 1.0
    max_completion_length: int = 256
    prompts: int = 100
    answers: int = 4
    use_cpu: bool = False


def train_attacker(
    policy: str,
    reward: GuardReward,
    prompts: Sequence[Prompt],
    judge: FaultJudge,
    out: Path,
    *,
    settings: AttackerSettings | None = None,
    seed: int = 0,
    prepare: Callable[[GRPOTrainer], None] = lambda trainer: None,
) -> TrainingResults:
    """Train a policy to be paid, and compare what it is paid for.

    An interruption (Ctrl-C, SIGTERM in a command) ends the training, and the policy is measured as it is then.

    Args:
        policy: a folder or hub id, with a chat template.
        reward: as a trainer gets it.
        prompts: chat messages.
        judge: what is wrong with an answer; independent of the reward.
        out: folder for the trained policy.
        settings: how it is trained.
        seed: of training and sampling.
        prepare: called with the trainer before the training: for a progress bar.
    """
    settings = settings or AttackerSettings()
    trainer = _trainer(policy, reward, prompts, out, settings, seed)
    prepare(trainer)
    asked = Random(f"prompts {seed}").sample(list(prompts), min(settings.prompts, len(prompts)))
    asked = [prompt for prompt in asked for _ in range(settings.answers)]
    judging = Judging(reward)
    before = _sample(trainer, asked, judging, judge, settings, seed)
    with suppress(KeyboardInterrupt):  # what it has found by then is measured
        trainer.train()
    trainer.save_model()
    after = _sample(trainer, asked, judging, judge, settings, seed)
    return compare(before, after, reward=reward.describe(), policy=policy, steps=trainer.state.global_step, seed=seed)


def _trainer(
    policy: str, reward: GuardReward, prompts: Sequence[Prompt], out: Path, settings: AttackerSettings, seed: int
) -> GRPOTrainer:
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    arguments: dict[str, Any] = {"use_cpu": True, "bf16": False} if settings.use_cpu else {}
    return GRPOTrainer(
        model=policy,
        reward_funcs=reward,
        train_dataset=Dataset.from_dict({"prompt": [[dict(it) for it in prompt] for prompt in prompts]}),
        args=GRPOConfig(
            output_dir=str(out),
            seed=seed,
            max_steps=settings.steps,
            per_device_train_batch_size=settings.batch_size,
            num_generations=settings.num_generations,
            max_completion_length=settings.max_completion_length,
            learning_rate=settings.learning_rate,
            lr_scheduler_type="linear",
            beta=settings.beta,
            temperature=settings.temperature,
            loss_type="grpo",
            scale_rewards="batch",
            gradient_checkpointing=False,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            **arguments,
        ),
    )


def _sample(
    trainer: Any,
    prompts: Sequence[Prompt],
    judging: Judging,
    judge: FaultJudge,
    settings: AttackerSettings,
    seed: int,
) -> list[Sample]:
    """Answers of the trainer's policy, paid and judged."""
    completions = sample_completions(
        trainer.model,
        trainer.processing_class,
        prompts,
        max_new_tokens=settings.max_completion_length,
        temperature=settings.temperature,
        seed=seed,
    )
    written = [(prompt, it) for prompt, it in zip(prompts, completions, strict=True) if not it.error]
    prompts = [prompt for prompt, _ in written]
    paid = judging(prompts, [Draft(it.text) for _, it in written])
    answers = [split_thinking(it.text, prefilled=it.begins_in_thinking)[1] for _, it in written]
    faults = judge(prompts, answers)
    return [
        Sample(str(prompt[-1]["content"]), it.text, judged.reward, fault)
        for (prompt, it), judged, fault in zip(written, paid, faults, strict=True)
    ]
