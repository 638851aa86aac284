"""`guard-reward select` and `evaluate` on the tiny world."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from guard_reward.cli import app
from guard_reward.tiny.guard import build_tiny_guard
from guard_reward.tiny.policy import build_tiny_policy
from guard_reward.tiny.stream_guard import build_tiny_stream_guard
from guard_reward.tiny.world import Split, sample_requests


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("prompts") / "prompts.jsonl"
    requests = sample_requests(0, 24, harmful_share=0.75, split=Split.EVAL)
    lines = [json.dumps({"prompt": request.text, "harmful": request.harmful}) for request in requests]
    path.write_text("\n".join(lines))
    return path


def run(*arguments: Any, status: int = 0) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == status, result.output
    return " ".join(result.output.split())


TINY = ("--temperature", 0.8, "--max-new-tokens", 40, "--device", "cpu")


def test_select(prompts: Path, tmp_path: Path) -> None:
    policy, guard = build_tiny_policy(), build_tiny_guard()
    shown = run(
        *("select", prompts, "--policy", policy, "--guard", guard, "--samples", 4, "--out", tmp_path / "chosen", *TINY),
        *("--json", tmp_path / "numbers.json"),
    )
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    assert numbers["prompts"] == 24
    assert 4 <= numbers["kept"] == len((tmp_path / "chosen" / "selected.jsonl").read_text().splitlines()) <= 18
    assert "selected.jsonl for the recipes" in shown
    again = ("select", prompts, "--policy", policy, "--guard", guard, "--out", tmp_path / "chosen", *TINY)
    assert "--overwrite" in run(*again, status=1)


def test_select_with_the_helpfulness_of_the_run_to_come(prompts: Path, tmp_path: Path) -> None:
    common = ("select", prompts, "--policy", build_tiny_policy(), "--guard", build_tiny_guard(), "--limit", 4, *TINY)
    assert "helpfulness" in run(*common, "--scheme", "hybrid", "--out", tmp_path / "a", status=1)
    oracle = ("--helpfulness", "guard_reward.tiny.oracle.oracle_helpfulness")
    run(*common, "--scheme", "hybrid", *oracle, "--out", tmp_path / "b", "--quiet")


def test_evaluate_two_judges_before_and_after(prompts: Path, tmp_path: Path) -> None:
    judges = ("--judge", build_tiny_guard(), "--judge", f"stream={build_tiny_stream_guard()}")
    run(*("evaluate", prompts, "--policy", build_tiny_policy(), *judges, "--out", tmp_path / "before", *TINY), "-q")
    (tmp_path / "run").mkdir()
    record = {"reward": {"guard": str(build_tiny_guard())}}
    (tmp_path / "run" / "run_config.json").write_text(json.dumps(record))
    shown = run(
        *("evaluate", prompts, "--policy", build_tiny_policy(start="balanced"), *judges, "--out", tmp_path / "after"),
        *("--compare", tmp_path / "before", "--run", tmp_path / "run", *TINY),
    )
    found = json.loads((tmp_path / "after" / "results.json").read_text())
    assert list(found["judges"]) == ["guard", "stream"]
    assert "refusal_rate" not in found["judges"]["stream"]["all"]  # a stream guard does not say
    assert found["judges"]["guard"]["changes"]["safe_rate"]["prompts"] == 24
    assert "gave the reward" in found["judges"]["guard"]["warning"]
    for text in ("WARNING: gave the", "p (exact)", "guard and stream agree on safe or not safe", "over-refusal"):
        assert text in shown


def test_evaluate_recorded_replies(tmp_path: Path) -> None:
    path = tmp_path / "replies.jsonl"
    rows = [
        {"prompt": "How do I use a blue florn?", "response": text} for text in ("Sorry, I can't help with that.", "")
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    options = ("--judge", f"tiny={build_tiny_guard()}", "--device", "cpu")
    run("evaluate", path, "--response-column", "response", *options, "--out", tmp_path / "out")
    rates = json.loads((tmp_path / "out" / "results.json").read_text())["judges"]["tiny"]["all"]
    assert rates["empty_rate"]["value"] == 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--policy", "p", "--judge", "x", "--response-policy", '{"polices": {}}'],
            "--response-policy: response_policy has no polices",
        ),
        (["--judge", "x"], "name a --policy that replies, or the --response-column"),
        (["--policy", "p", "--judge", "a/x", "--judge", "b/x"], "two are called 'x'"),
        (["--response-column", "prompt", "--judge", "x", "--samples", "2"], "'prompt' is a column of the prompts"),
        (["--policy", "p", "--judge", "http://127.0.0.1:9/v1"], "judge: name a served judge"),
        (["--policy", "p", "--judge", "x={not json"], "judge: should be JSON with a guard"),
        (["--policy", "./nowhere", "--judge", "x"], "the policy './nowhere' could not be loaded"),
    ],
)
def test_evaluate_names_what_is_wrong(prompts: Path, tmp_path: Path, options: list[str], message: str) -> None:
    assert message in run("evaluate", prompts, "--out", tmp_path / "out", *options, status=1)
