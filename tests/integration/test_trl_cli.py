"""``trl grpo --reward_funcs guard_reward.presets.guard_only``: TRL's own command line, launched for real."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("trl")

from tests.integration.conftest import rows


@pytest.mark.slow
def test_trl_grpo_takes_a_preset(repository, guard_folder, policy_folder, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows("conversational")))
    command = [
        str(Path(sys.executable).with_name("trl")),
        "grpo",
        *("--model_name_or_path", policy_folder),
        *("--dataset_name", str(data)),
        *("--reward_funcs", "guard_reward.presets.guard_only"),
        *("--output_dir", str(tmp_path / "out")),
        *("--max_steps", "1"),
        *("--per_device_train_batch_size", "4"),
        *("--num_generations", "4"),
        *("--max_completion_length", "6"),
        *("--logging_steps", "1"),
        *("--save_strategy", "no"),
        *("--report_to", "none"),
        *("--use_cpu", "true"),
        *("--bf16", "false"),
        *("--log_completions", "true"),
    ]
    environment = {
        **os.environ,
        "PYTHONPATH": str(repository),
        "GUARD_REWARD_MODEL": str(guard_folder),
        "HF_HUB_OFFLINE": "1",
        "ACCELERATE_USE_CPU": "true",
        "HF_DATASETS_CACHE": str(tmp_path / "cache"),
    }
    finished = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert finished.returncode == 0, finished.stdout[-3000:] + finished.stderr[-3000:]
    assert "rewards/guard_only/mean" in finished.stdout
    assert "guard/safe_rate" in finished.stdout

    import pandas

    table = pandas.read_parquet(tmp_path / "out" / "completions" / "completions_00001.parquet")
    assert len(table) == 4
    for _, row in table.iterrows():
        assert row["guard_outcome"] != "guard_error", row["guard_reason"]
        if row["guard_outcome"] == "scored":
            assert row["guard_only"] == float(row["guard_severity"] == "Safe")
