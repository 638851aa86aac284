"""What the recipes' tests share: the tiny world as files, and the recipes as other processes start them."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SMALL = [
    *("--per_device_train_batch_size", "4", "--num_generations", "4", "--max_completion_length", "12"),
    *("--eval_strategy", "no", "--disable_tqdm", "true", "--lr_scheduler_type", "constant"),
]


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as ``guard-reward tiny runs/tiny`` leaves it: the recipes are started here."""
    pytest.importorskip("trl")
    from guard_reward.tiny.files import write_world

    folder = tmp_path_factory.mktemp("world")
    write_world(folder / "runs" / "tiny")
    return folder


@pytest.fixture
def run_here(world: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Run a recipe in this process, as Python would run the script."""

    def run(name: str, *arguments: str) -> None:
        monkeypatch.chdir(world)
        monkeypatch.setattr(sys, "argv", command(name, *arguments))
        runpy.run_path(sys.argv[0], run_name="__main__")

    return run


def command(name: str, *arguments: str) -> list[str]:
    """The command line of a recipe with its tiny config: ``grpo`` or ``ppo``."""
    config = REPOSITORY / "configs" / f"{name}_tiny.yaml"
    return [str(REPOSITORY / "recipes" / f"{name}.py"), "--config", str(config), *arguments]


def launch_command(accelerate_config: str, script: list[str], *options: str) -> list[str]:
    """``accelerate launch`` of a script, on a port of its own."""
    config = REPOSITORY / "configs" / "accelerate" / f"{accelerate_config}.yaml"
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(config)]
    return [*launcher, "--main_process_port", "0", *options, *script]


def environment() -> dict[str, str]:
    """Of a process that finds this checkout, downloads nothing and does not fight for the cores."""
    path = os.pathsep.join(filter(None, (str(REPOSITORY), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


def run_command(command: list[str], folder: Path) -> str:
    """Run it to its end in `folder`; its output."""
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-6000:]}"
    return done.stdout + done.stderr


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def logged_steps(run: Path) -> list[dict[str, Any]]:
    """The training metrics of every step."""
    return [entry for entry in read_json(run / "trainer_state.json")["log_history"] if "reward" in entry]
