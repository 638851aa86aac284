"""A run from a file whose policy falls apart: the alarm stops it, and says in its folder why."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("trl")

from tests.recipes.conftest import logged_steps, read_json


@pytest.mark.slow
def test_the_alarm_stops_a_run(world: Path, tmp_path: Path, run_here: Callable[..., None]) -> None:
    out = tmp_path / "run"
    run_here(
        "grpo",
        *("--per_device_train_batch_size", "32", "--num_generations", "4", "--max_completion_length", "24"),
        *("--eval_strategy", "no", "--disable_tqdm", "true", "--max_steps", "40", "--output_dir", str(out)),
        # Far too fast: after a few steps the policy writes nonsense.
        *("--learning_rate", "0.02", "--lr_scheduler_type", "constant_with_warmup", "--warmup_steps", "12"),
        *("--monitor", "true", "--monitor_guard", "runs/tiny/stream-guard", "--monitor_action", "stop"),
        *("--monitor_warmup_steps", "3", "--monitor_max_share", "0.5"),
    )
    alarms = [json.loads(line) for line in (out / "monitor.jsonl").read_text().splitlines()]
    assert alarms
    assert {alarm["signal"] for alarm in alarms} & {"garbling", "repetition", "truncated", "length"}
    assert all(alarm["rollouts"] and alarm["value"] > alarm["limit"] for alarm in alarms)
    steps = logged_steps(out)
    assert len(steps) == alarms[-1]["step"] < 40
    assert {"monitor/garbling", "monitor/truncated", "monitor/share_of_step"} <= set(steps[-1])
    assert any("monitor/second_guard_disagreement" in step for step in steps)
    record = read_json(out / "run_config.json")
    assert record["configs"]["MonitorConfig"]["monitor_action"] == "stop"
    assert record["callbacks"][0]["second_guard"]["guard"] == "runs/tiny/stream-guard"
