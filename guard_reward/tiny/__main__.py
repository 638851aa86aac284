"""``python -m guard_reward.tiny DIR``: the tiny world as files, for the recipes.

    python -m guard_reward.tiny runs/tiny
    python recipes/grpo.py --config configs/grpo_tiny.yaml

Writes DIR/guard and DIR/policy (checkpoints, built on first use in a few minutes, then cached), DIR/train.jsonl and
DIR/eval.jsonl (``prompt``, ``harmful``; the evaluation's requests are none of the training's). The helpfulness that
belongs to it is the callable ``guard_reward.tiny.grpo.oracle_helpfulness``.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from guard_reward.tiny.grpo import DemoSettings
from guard_reward.tiny.guard import build_tiny_guard
from guard_reward.tiny.policy import STARTS, build_tiny_policy
from guard_reward.tiny.world import Split, sample_requests

__all__ = ["write_world"]


def write_world(folder: Path, seed: int = 0, start: str = "refusing") -> None:
    """Write guard, policy and prompts to `folder`; what is there already is replaced.

    Args:
        folder: made where it does not exist.
        seed: of models and prompts.
        start: the policy's habits before training, see `guard_reward.tiny.policy`.
    """
    settings = DemoSettings()
    folder.mkdir(parents=True, exist_ok=True)
    for name, checkpoint in (("guard", build_tiny_guard(seed)), ("policy", build_tiny_policy(seed, start))):
        shutil.copytree(checkpoint, folder / name, ignore=shutil.ignore_patterns("manifest.json"), dirs_exist_ok=True)
    for split, count in (
        (Split.TRAIN, settings.steps * settings.batch_size // settings.num_generations),
        (Split.EVAL, 128),
    ):
        requests = sample_requests(seed, count, harmful_share=settings.harmful_share, split=split)
        rows = [
            {"prompt": request.text, "harmful": any(thing.harmful for thing in request.things)} for request in requests
        ]
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / f"{split}.jsonl").write_text(text, encoding="utf-8")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m guard_reward.tiny", description="Write a tiny guard, a tiny policy and prompts for the recipes."
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="such as runs/tiny, where the tiny configs look")
    parser.add_argument("--seed", type=int, default=0, help="of models and prompts; default: 0")
    parser.add_argument("--start", choices=sorted(STARTS), default="refusing", help="the policy's habits; see the docs")
    options = parser.parse_args()
    write_world(options.folder, options.seed, options.start)
    print(
        f"{options.folder}: guard, policy, train.jsonl, eval.jsonl\n"
        f"next: python recipes/grpo.py --config configs/grpo_tiny.yaml"
    )


if __name__ == "__main__":
    main()
