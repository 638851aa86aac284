"""`moderate`, `evaluate` and `select` on scripted models, as jobs that tests kill, starve and stop."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Protocol

import pytest

from guard_reward import GuardReward
from guard_reward.evaluation.evaluate import Sampling, evaluate_policy
from guard_reward.evaluation.records import PromptRow
from guard_reward.prompts.selection import select_prompts
from tests.evaluation.scripted_policy import ScriptedPolicy
from tests.moderation.files import moderate, write_any
from tests.scripted_guard import ScriptedGuard

__all__ = ["Run", "contents", "run"]

PROMPTS = [PromptRow([{"role": "user", "content": f"question {number}"}], source="a") for number in range(12)]
ROWS = [{"prompt": f"question {number}", "response": f"answer {'bomb' * (number % 3)}"} for number in range(40)]


class Run(Protocol):
    """A command on scripted models: it writes to a folder, and resumes there."""

    def __call__(self, out: Path, *, seconds: float = 0.0) -> object:
        """Run it; each call of the guard takes `seconds`."""


class SlowGuard(ScriptedGuard):
    """Takes its time."""

    def __init__(self, seconds: float):
        super().__init__()
        self.seconds = seconds

    def moderate(self, conversations: Any) -> Any:
        time.sleep(self.seconds)
        return super().moderate(conversations)


def moderated(suffix: str, source: Path) -> Run:
    write_any(source / f"in{suffix}", ROWS)
    files = (source / f"in{suffix}", f"out{suffix}")
    return lambda out, seconds=0.0: moderate(
        files[0], out / files[1], guard=SlowGuard(seconds), chunk_rows=10, overwrite=True
    )


def evaluated(_: Path) -> Run:
    sampling = Sampling(samples=2, chunk=4)
    return lambda out, seconds=0.0: evaluate_policy(
        PROMPTS, ScriptedPolicy(), {"guard": SlowGuard(seconds)}, out, sampling=sampling, overwrite=True
    )


def selected(_: Path) -> Run:
    sampling = Sampling(samples=3, chunk=4)
    return lambda out, seconds=0.0: select_prompts(
        PROMPTS, {"default": ScriptedPolicy()}, GuardReward(SlowGuard(seconds)), out, sampling=sampling, overwrite=True
    )


@pytest.fixture(params=["moderate .jsonl", "moderate .csv", "moderate .parquet", "evaluate", "select"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    """A command."""
    command, _, suffix = request.param.partition(" ")
    (tmp_path / "in").mkdir()
    if command == "moderate":
        return moderated(suffix, tmp_path / "in")
    return {"evaluate": evaluated, "select": selected}[command](tmp_path)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}
