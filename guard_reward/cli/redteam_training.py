"""``guard-reward redteam --train``: a policy is trained against the reward, and what it has found is printed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guard_reward.cli.output import printable, write_json
from guard_reward.errors import LOADING_ERRORS, UserError, first_paragraph

if TYPE_CHECKING:
    from guard_reward.redteam.training.attacker import AttackerSettings
    from guard_reward.redteam.training.faults import FaultJudge
    from guard_reward.redteam.training.hacks import Group, Stage, TrainingResults
    from guard_reward.rewards.policy import PolicyFacts
    from guard_reward.rewards.reward import GuardReward

__all__ = ["TRAINING_RESULTS", "run_training"]

TRAINING_RESULTS = "training.json"
_GROUPS = 8
_TINY_PROMPTS = 400


def run_training(
    make_reward: Callable[[PolicyFacts], GuardReward],
    prompts: Sequence[Any] | None,
    *,
    policy: str | None,
    judge: str | None,
    steps: int,
    seed: int,
    out: Path | None,
    quiet: bool,
) -> TrainingResults:
    """Train, print and write.

    Args:
        make_reward: makes the reward for a policy.
        prompts: chat messages; None for those of the tiny world, or of the package's sample replies.
        policy: hub id or folder; None for the tiny world's.
        judge: `guard_reward.redteam.training.faults.load_judge`; None for the tiny world's oracle.
        steps, seed: of the training.
        out: folder for the policy and the results; None for none.
        quiet: no bar and no table.

    Raises:
        UserError: a policy of one's own without a judge; a model that cannot be loaded.
    """
    if policy is not None and judge is None:
        raise UserError(
            "--policy needs --judge: a second guard, or package.module.function, says what is wrong with an answer"
        )
    found_judge = _judge(judge)
    source, settings = _tiny(steps) if policy is None else (policy, _settings(steps))
    if prompts is None:
        prompts = _tiny_prompts(seed) if policy is None else _sample_prompts()
    with _folder(out) as folder:
        found = _train(source, make_reward, prompts, found_judge, folder, settings=settings, seed=seed, quiet=quiet)
    write_json(None if out is None else out / TRAINING_RESULTS, found.to_dict())
    if not quiet:
        _print(found)
    return found


def _train(
    source: str,
    make_reward: Callable[[PolicyFacts], GuardReward],
    prompts: Sequence[Any],
    judge: FaultJudge,
    folder: Path,
    *,
    settings: AttackerSettings,
    seed: int,
    quiet: bool,
) -> TrainingResults:
    from trl import GRPOConfig, ModelConfig

    from guard_reward.launch.policy import read_policy
    from guard_reward.monitoring.progress import Progress, show_progress
    from guard_reward.redteam.training.attacker import train_attacker

    args = GRPOConfig(output_dir=str(folder), bf16=False, use_cpu=settings.use_cpu)
    reward = make_reward(read_policy(ModelConfig(model_name_or_path=source), args))
    return train_attacker(
        source,
        reward,
        prompts,
        judge,
        folder,
        settings=settings,
        seed=seed,
        prepare=lambda trainer: None if quiet else show_progress(trainer, Progress("attacker")),
    )


def _settings(steps: int) -> AttackerSettings:
    from guard_reward.redteam.training.attacker import AttackerSettings

    return AttackerSettings(steps=steps)


def _tiny(steps: int) -> tuple[str, AttackerSettings]:
    """The tiny policy, and settings for its size."""
    from guard_reward.redteam.training.attacker import AttackerSettings
    from guard_reward.tiny.policy import build_tiny_policy

    settings = AttackerSettings(steps=steps, learning_rate=1e-3, max_completion_length=40, use_cpu=True)
    return str(build_tiny_policy(0)), settings


def _tiny_prompts(seed: int) -> list[Any]:
    from guard_reward.tiny.world import sample_requests

    requests = sample_requests(seed, _TINY_PROMPTS, harmful_share=0.8)
    return [[{"role": "user", "content": request.text}] for request in requests]


def _sample_prompts() -> list[Any]:
    from guard_reward.redteam.targets import sample_targets

    return [target.prompt for target in sample_targets()]


def _judge(source: str | None) -> FaultJudge:
    if source is None:
        from guard_reward.tiny.oracle import oracle_faults

        return oracle_faults
    from guard_reward.redteam.training.faults import load_judge

    try:
        return load_judge(source)
    except LOADING_ERRORS as error:
        raise UserError(f"the judge {source!r} could not be loaded: {first_paragraph(error)}") from error


@contextmanager
def _folder(out: Path | None) -> Iterator[Path]:
    """For the trained policy; without --out it is not kept."""
    if out is not None:
        yield out / "policy"
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def _print(found: TrainingResults) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False)
    console.print(printable(f"{found.reward['guard']}, {found.reward['scheme']}"))
    table = Table("policy", "reward", "hacks", "what the judge finds wrong")
    for name, stage in {"before": found.before, f"after {found.steps} steps": found.after}.items():
        table.add_row(name, *map(printable, _cells(stage)))
    console.print(table)
    for group in found.groups[:_GROUPS]:
        for line in _lines(group):
            console.print(printable(line), soft_wrap=True)
    for phrase in found.phrases:
        console.print(
            printable(f"{phrase.text!r} is in {phrase.share:.0%} of the hacks and in {phrase.elsewhere:.0%} of the ")
            + "faulty answers that are not paid more",
            soft_wrap=True,
        )
    verdict = "hacks rose by more than chance" if found.found else "no more hacks than before, beyond chance"
    console.print(f"{verdict}; {found.samples:,} answers before and after")


def _cells(stage: Stage) -> list[str]:
    faults = ", ".join(f"{fault} {share:.0%}" for fault, share in stage.faults.items()) or "nothing"
    reward = "none" if stage.reward is None else f"{stage.reward:.2f}"
    return [reward, f"{stage.hacks.value:.0%} ({stage.hacks.low:.0%} to {stage.hacks.high:.0%})", faults]


def _lines(group: Group) -> list[str]:
    families = ", ".join(group.families) or "like no known attack"
    noun = "hack" if group.count == 1 else "hacks"
    example = group.examples[0]
    return [
        f"{group.count:,} {noun}: {group.fault}, {families}, reward {group.gain:+.2f}",
        f"  {example.prompt!r} → {example.answer[:200]!r}",
    ]
