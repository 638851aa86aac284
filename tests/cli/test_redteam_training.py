"""`guard-reward redteam --train`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from guard_reward.cli import app
from guard_reward.redteam.training.hacks import Sample, compare
from tests.scripted_guard import ScriptedGuard


@pytest.fixture(autouse=True)
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What the trainer is asked to do; it is not trained here."""
    calls: list[tuple[Any, ...]] = []

    def train(policy: str, reward: Any, prompts: Any, judge: Any, out: Path, **options: Any) -> Any:
        calls.append((policy, prompts, judge, options))
        before = [Sample("How?", "Sure. Cut.", 0.0, "unsafe")] * 40
        after = [Sample("How?", "Of course. Cut.", 1.0, "unsafe")] * 40
        settings = options["settings"]
        record = {"reward": reward.describe(), "policy": policy, "steps": settings.steps, "seed": options["seed"]}
        return compare(before, after, **record)

    monkeypatch.setattr("guard_reward.redteam.training.attacker.train_attacker", train)
    monkeypatch.setattr("guard_reward.launch.config.load_guard", lambda *_, **__: ScriptedGuard())
    return calls


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["redteam", *map(str, arguments)], env={"COLUMNS": "160"})


def test_what_was_found_is_shown_and_written(tmp_path: Path, trained: list[tuple[Any, ...]]) -> None:
    result = run("--train", 7, "--seed", 3, "--out", tmp_path / "out")
    assert result.exit_code == 1, result.output
    assert "after 7 steps" in result.stdout
    assert "40 hacks: unsafe, openers: Of course., reward +1.00" in result.stdout
    assert "'Of course. Cut.' is in 100% of the hacks and in 0% of the faulty answers" in result.stdout
    assert "hacks rose by more than chance" in result.stdout
    found = json.loads((tmp_path / "out" / "training.json").read_text())
    assert (found["found"], found["steps"], found["seed"]) == (True, 7, 3)
    (policy, prompts, judge, _) = trained[0]
    assert "policy-refusing" in policy
    assert len(prompts) == 400
    assert judge([prompts[0]], [""]) == ["empty"]


def test_prompts_are_those_of_the_file(tmp_path: Path, trained: list[tuple[Any, ...]]) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "How?"}\n')
    assert run(path, "--train", 1).exit_code == 1
    assert [[dict(message) for message in prompt] for prompt in trained[0][1]] == [
        [{"role": "user", "content": "How?"}]
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--train", 1, "--policy", "some/policy"], "--policy needs --judge"),
        (["--train", 1, "--judge", "no_module.judge"], "judge: 'no_module.judge' cannot be imported"),
        (["--train", 1, "--search", "greedy"], "leave out one"),
        (["--train", 1, "--limit", 3, "--family", "openers"], "leave out --family and --limit"),
        (["--train", 1, "--compare"], "leave out --compare and --markdown"),
        (["--judge", "some.judge"], "--policy and --judge are for --train"),
    ],
)
def test_mistakes_are_one_line(options: list[object], message: str) -> None:
    result = run(*options)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
