"""The tiny models that come with the package: trained once with seed 0 and default settings.

So the demo and the tests need no training, and all machines use the same weights. Other seeds and settings are trained
on first use. After a change of the world, train the shipped models again and commit them:

    python -m guard_reward.tiny.shipped

Each folder in ``checkpoints`` has a ``manifest.json``: ``recipe`` (settings, hash of the training examples), ``files``
(SHA-256 of each file) and ``versions`` (of the libraries that trained it).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from guard_reward.tiny.cache import MANIFEST, hashes_of_files, is_whole

__all__ = ["SHIPPED", "read_recipe", "shipped", "write_shipped"]

CHECKPOINTS = Path(__file__).parent / "checkpoints"
SHIPPED = ("guard", "stream-guard", "policy-refusing", "policy-balanced")


def shipped(name: str) -> Path | None:
    """The folder of a shipped model; None if it is missing or damaged, so that the model is trained instead."""
    folder = CHECKPOINTS / name
    return folder if is_whole(folder) else None


def read_recipe(name: str) -> dict[str, object]:
    """The recipe with which a shipped model was trained."""
    recipe: dict[str, object] = json.loads((CHECKPOINTS / name / MANIFEST).read_text(encoding="utf-8"))["recipe"]
    return recipe


def write_shipped(name: str, checkpoint: Path, recipe: Mapping[str, object]) -> None:
    """Replace a shipped model by `checkpoint`, a folder that `build_tiny_guard` or `build_tiny_policy` trained."""
    import tokenizers
    import torch
    import transformers

    folder = CHECKPOINTS / name
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(checkpoint, folder, ignore=shutil.ignore_patterns(MANIFEST), copy_function=shutil.copyfile)
    manifest = {
        "recipe": dict(recipe),
        "files": hashes_of_files(folder),
        "versions": {module.__name__: module.__version__ for module in (torch, transformers, tokenizers)},
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def main() -> None:
    """Train all shipped models again, in about four minutes on two cores."""
    from guard_reward.tiny.guard import build_tiny_guard, guard_recipe
    from guard_reward.tiny.policy import STARTS, build_tiny_policy, policy_recipe
    from guard_reward.tiny.stream_guard import build_tiny_stream_guard, stream_guard_recipe

    write_shipped("stream-guard", build_tiny_stream_guard(rebuild=True), stream_guard_recipe())
    write_shipped("guard", build_tiny_guard(rebuild=True), guard_recipe())
    for start in STARTS:
        write_shipped(f"policy-{start}", build_tiny_policy(start=start, rebuild=True), policy_recipe(start=start))
    for name in SHIPPED:
        print(CHECKPOINTS / name)


if __name__ == "__main__":
    main()
