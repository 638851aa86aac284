"""The tiny world as files, for the recipes: ``guard-reward tiny DIR``."""

from __future__ import annotations

import shutil
from pathlib import Path

from guard_reward.tiny.cache import MANIFEST
from guard_reward.tiny.grpo import DemoSettings
from guard_reward.tiny.guard import build_tiny_guard
from guard_reward.tiny.policy import build_tiny_policy
from guard_reward.tiny.replies import sample_replies
from guard_reward.tiny.results import write_lines
from guard_reward.tiny.stream_guard import build_tiny_stream_guard
from guard_reward.tiny.world import Split, sample_requests

__all__ = ["write_world"]

EVAL_PROMPTS = 128


def write_world(folder: Path, seed: int = 0, start: str = "refusing", *, rebuild: bool = False) -> list[str]:
    """Write a guard, a stream guard, a policy and prompts to `folder`; existing ones are replaced.

    The prompts are ``train.jsonl`` and ``eval.jsonl``, with the columns ``prompt`` and ``harmful``; no request is in
    both. Their helpfulness is the callable ``guard_reward.tiny.oracle.oracle_helpfulness``. ``replies.jsonl`` holds
    plain replies for ``guard-reward redteam``.

    Args:
        folder: created if missing.
        seed: of models and prompts.
        start: the policy's habits before training, see `guard_reward.tiny.policy`.
        rebuild: train the models on this machine even if they come with the package.

    Returns:
        The names of what was written.

    Example:
        >>> write_world(Path("runs/tiny"))  # doctest: +SKIP
        ['guard', 'stream-guard', 'policy', 'train.jsonl', 'eval.jsonl', 'replies.jsonl']
    """
    settings = DemoSettings()
    train_prompts = settings.steps * settings.batch_size // settings.num_generations
    _copy(build_tiny_guard(seed, rebuild=rebuild), folder / "guard")
    _copy(build_tiny_stream_guard(seed, rebuild=rebuild), folder / "stream-guard")
    _copy(build_tiny_policy(seed, start, rebuild=rebuild), folder / "policy")
    for split, count in ((Split.TRAIN, train_prompts), (Split.EVAL, EVAL_PROMPTS)):
        requests = sample_requests(seed, count, harmful_share=settings.harmful_share, split=split)
        rows = [{"prompt": request.text, "harmful": request.harmful} for request in requests]
        write_lines(folder / f"{split}.jsonl", rows)
    write_lines(folder / "replies.jsonl", sample_replies(seed))
    return ["guard", "stream-guard", "policy", f"{Split.TRAIN}.jsonl", f"{Split.EVAL}.jsonl", "replies.jsonl"]


def _copy(checkpoint: Path, target: Path) -> None:
    shutil.copytree(
        checkpoint,
        target,
        ignore=shutil.ignore_patterns(MANIFEST),
        copy_function=shutil.copyfile,  # not the mode: an installed package may be read-only
        dirs_exist_ok=True,
    )
