"""Kills where they hurt most: between two file operations, and in the middle of a write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from benchmarks.kill_parts.blows import Blow
from guard_reward import GuardReward
from guard_reward.evaluation.evaluate import Sampling, evaluate_policy
from guard_reward.evaluation.records import PromptRow
from guard_reward.prompts.selection import select_prompts
from tests.evaluation.scripted_policy import ScriptedPolicy
from tests.faults.forks import operations_of, was_killed
from tests.moderation.files import moderate, write_any
from tests.scripted_guard import ScriptedGuard

Run = Callable[[Path], object]
PROMPTS = [PromptRow([{"role": "user", "content": f"question {number}"}], source="a") for number in range(12)]
ROWS = [{"prompt": f"question {number}", "response": f"answer {'bomb' * (number % 3)}"} for number in range(40)]


def moderated(suffix: str, source: Path) -> Run:
    write_any(source / f"in{suffix}", ROWS)
    return lambda out: moderate(source / f"in{suffix}", out / f"out{suffix}", chunk_rows=10, overwrite=True)


def evaluated(_: Path) -> Run:
    sampling = Sampling(samples=2, chunk=4)
    return lambda out: evaluate_policy(
        PROMPTS, ScriptedPolicy(), {"guard": ScriptedGuard()}, out, sampling=sampling, overwrite=True
    )


def selected(_: Path) -> Run:
    sampling = Sampling(samples=3, chunk=4)
    return lambda out: select_prompts(
        PROMPTS, {"default": ScriptedPolicy()}, GuardReward(ScriptedGuard()), out, sampling=sampling, overwrite=True
    )


@pytest.fixture(params=["moderate .jsonl", "moderate .csv", "moderate .parquet", "evaluate", "select"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    """A command on scripted models: it writes to a folder, and resumes there."""
    command, _, suffix = request.param.partition(" ")
    (tmp_path / "in").mkdir()
    if command == "moderate":
        return moderated(suffix, tmp_path / "in")
    return {"evaluate": evaluated, "select": selected}[command](tmp_path)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_killed_before_any_of_its_file_operations(run: Run, tmp_path: Path) -> None:
    run(tmp_path / "whole")
    count = operations_of(lambda: run(tmp_path / "counted"), tmp_path / "counted")
    assert count > 8
    for number in range(1, count + 1):
        out = tmp_path / f"killed-{number}"
        assert was_killed(lambda out=out: run(out), out, Blow("operation", number))  # type: ignore[misc]
        run(out)
        assert contents(out) == contents(tmp_path / "whole"), f"killed before operation {number}"


def test_killed_inside_a_write_again_and_again(run: Run, tmp_path: Path) -> None:
    run(tmp_path / "whole")
    longest, random = max(map(len, contents(tmp_path / "whole").values())), Random(0)
    killed = 0
    for size in sorted(random.sample(range(1, longest), 12)):  # each time it comes a little further
        killed += was_killed(lambda: run(tmp_path / "killed"), tmp_path / "killed", Blow("write", size))
    assert killed >= 6
    run(tmp_path / "killed")
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
