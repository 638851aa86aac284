"""``guard-reward speed``, on a guard that is there: the tiny one."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from guard_reward.cli import app
from guard_reward.speed.check import check_speed


@pytest.fixture
def folder(tiny_guard, tmp_path):
    tiny_guard.model.save_pretrained(tmp_path / "guard")
    tiny_guard.tokenizer.save_pretrained(tmp_path / "guard")
    return tmp_path / "guard"


def test_the_table_and_the_file(folder, tmp_path):
    target = tmp_path / "speed.json"
    options = ["--guard", str(folder), "--prompts", "1", "--group-size", "3", "--completion-tokens", "20"]
    result = CliRunner().invoke(app, ["speed", *options, "--rounds", "1", "--json", str(target)])
    assert result.exit_code == 0, result.output
    assert "no scorer can judge more than" in " ".join(result.output.split())  # wrapped where a terminal would
    found = json.loads(target.read_text())
    assert [row["variant"] for row in found["variants"]] == ["model_card", "batched_generate", "fast"]
    assert found["variants"][0]["ratio_to_model_card"] == 1.0
    assert found["variants"][2]["passes_per_verdict"] >= 1
    assert found["floor_rollouts_per_second"] > found["variants"][2]["rollouts_per_second"] > 0
    assert found["guard"]["dtype"] == "float32"


def test_what_is_measured_is_groups_of_completions(tiny_guard, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "guard_reward.speed.check.compare_speeds", lambda variants, work, **_: seen.append(work(0)) or []
    )
    monkeypatch.setattr("guard_reward.speed.check.matmul_rate", lambda device, dtype: 1e9)
    check_speed(tiny_guard, prompts=2, group_size=3, completion_tokens=30)
    assert len(seen[0]) == len({tuple(row) for row in seen[0]}) == 6
    text = [tiny_guard.tokenizer.decode(row).split("ASSISTANT: ")[0] for row in seen[0]]
    assert len(set(text)) == 2


def test_a_guard_that_is_not_there_is_an_error_in_one_line():
    result = CliRunner().invoke(app, ["speed", "--guard", "./nowhere"])
    assert result.exit_code == 1
    assert "does not exist" in result.stderr
    assert "Traceback" not in result.output
