"""Guards made of known parts: the tiny guard's model in other surroundings, a guard whose answers a test decides."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from guard_reward.guards import TransformersGuard
from guard_reward.scoring import Generation
from tests.scoring.conftest import toy  # noqa: F401  the toy language, for the grammar's tests

collect_ignore = ["vllm_scenarios.py"]  # a script: it reads its arguments as soon as it is imported


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Models this small are slower with more threads, much slower where other programs run."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def checkpoint(tiny_guard: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A guard checkpoint in a folder of its own; copy it before changing it."""
    folder = tmp_path_factory.mktemp("guard")
    tiny_guard.model.save_pretrained(folder)
    tiny_guard.tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def small_context(tiny_guard: Any) -> Callable[[int], TransformersGuard]:
    """The tiny guard with a context of so many tokens."""

    def make(tokens: int) -> TransformersGuard:
        model = copy.deepcopy(tiny_guard.model)
        model.config.max_position_embeddings = tokens
        return TransformersGuard(model, tiny_guard.tokenizer)

    return make


@pytest.fixture
def answers_by(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, Callable[[str], str]], list[str]]:
    """Let `answer(text of the guard's input)` speak in the model's place; returns the list of inputs it was shown."""

    def rig(guard: Any, answer: Callable[[str], str]) -> list[str]:
        seen: list[str] = []

        def generate(inputs: list[list[int]], grammars: list[Any], planned=None) -> list[Generation]:
            texts = [guard.tokenizer.decode(ids) for ids in inputs]
            seen.extend(texts)
            return [Generation(guard.tokenizer.encode(answer(text)), ended=True, passes=1) for text in texts]

        monkeypatch.setattr(guard._parts.engine, "generate", generate)
        return seen

    return rig
