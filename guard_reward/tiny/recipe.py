"""What decides a tiny model's weights, as JSON values: for keys of the cache and manifests of shipped models."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from guard_reward.guards.specs.qwen3guard import Category
from guard_reward.tiny import oracle, tokenizer, training, world
from guard_reward.tiny.cache import hash_of_sources
from guard_reward.tiny.reproducible import THREADS
from guard_reward.tiny.tokenizer import read_template
from guard_reward.tiny.training import Example

__all__ = ["build_key", "hash_of_examples"]


def build_key(template: str, *sources: str | None) -> dict[str, object]:
    """What decides the weights in addition to seed and settings: code, template, libraries, threads.

    Args:
        template: name of the chat template.
        sources: paths of the modules that only this model depends on.
    """
    import tokenizers
    import torch
    import transformers

    shared: list[ModuleType] = [oracle, tokenizer, training, world]
    paths = [Path(path) for path in (*sources, *(module.__file__ for module in shared)) if path]
    return {
        "code": hash_of_sources(*paths),
        "template": read_template(template),
        "categories": list(Category),
        "versions": [torch.__version__, transformers.__version__, tokenizers.__version__],
        "threads": THREADS,
    }


def hash_of_examples(examples: Iterable[Example]) -> str:
    """SHA-256 of training examples: it changes with the world, the template and the tokenizer, not with comments."""
    digest = hashlib.sha256()
    for example in examples:
        digest.update(f"{example.token_ids} {example.target_start} {example.reading}\n".encode())
    return digest.hexdigest()
