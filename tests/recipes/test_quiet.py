"""What a recipe writes into a pipe: its own lines, and no library's."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("trl")

from tests.recipes.conftest import command, environment

FEW = [
    *("--max_steps", "3", "--per_device_train_batch_size", "4", "--num_generations", "4"),
    *("--max_completion_length", "12", "--num_train_epochs", "1"),
]
BARS = ("HF_HUB_DISABLE_PROGRESS_BARS", "HF_DATASETS_DISABLE_PROGRESS_BARS")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["grpo", "ppo"])
def test_a_pipe_gets_few_lines(world: Path, tmp_path: Path, name: str) -> None:
    variables = {key: value for key, value in environment().items() if key not in (*BARS, "PYTHONWARNINGS")}
    done = subprocess.run(
        [sys.executable, *command(name, *FEW, "--output_dir", str(tmp_path / "run"))],
        cwd=world,
        env=variables | {"HF_DATASETS_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        timeout=600,
    )
    written = done.stdout + done.stderr
    assert done.returncode == 0, written
    assert re.search("^training: step 3/3, reward", written, re.MULTILINE)
    assert re.findall(r"\r|\x1b|Warning|WARNING|torchao|Enum subclass|pin_memory", written) == [], written
    assert len(written.splitlines()) < 8, written
