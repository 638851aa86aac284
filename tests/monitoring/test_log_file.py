"""``log.jsonl``: every log line as soon as it is logged, in a file that no kill and no full disk can break."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("transformers")

from guard_reward.monitoring.log_file import LogFile

NAN = float("nan")


def log(callback: LogFile, folder: Path, state: Any, **entry: Any) -> None:
    """As a trainer does: first the history, then the callbacks."""
    state.log_history.append({**entry})
    callback.on_log(SimpleNamespace(output_dir=str(folder)), state, None, logs=entry)


def state_of(*history: dict[str, Any], main: bool = True) -> Any:
    return SimpleNamespace(is_world_process_zero=main, log_history=list(history))


def begin(callback: LogFile, folder: Path, state: Any) -> None:
    callback.on_train_begin(SimpleNamespace(output_dir=str(folder)), state, None)


def end(callback: LogFile, folder: Path, state: Any) -> None:
    callback.on_train_end(SimpleNamespace(output_dir=str(folder)), state, None)


def lines(folder: Path) -> list[Any]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]


def test_each_entry_is_there_as_soon_as_it_is_logged(tmp_path: Path) -> None:
    callback, state = LogFile(), state_of()
    begin(callback, tmp_path, state)
    assert lines(tmp_path) == []
    for step in (1, 2):
        log(callback, tmp_path, state, reward=0.5, step=step)
        assert lines(tmp_path) == state.log_history


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (NAN, None),
        (float("-inf"), None),
        (None, None),
        ("ünï\u2028code", "ünï\u2028code"),
        ({"a": [1, NAN]}, {"a": [1, None]}),
        (Path("x"), "x"),
    ],
)
def test_values(tmp_path: Path, value: Any, written: Any) -> None:
    log(LogFile(), tmp_path, state_of(), value=value, step=1)
    text = (tmp_path / "log.jsonl").read_text(encoding="utf-8")
    assert text.endswith("\n")
    assert json.loads(text, parse_constant=pytest.fail) == {"value": written, "step": 1}


def test_numbers_of_numpy_and_torch(tmp_path: Path) -> None:
    numpy, torch = pytest.importorskip("numpy"), pytest.importorskip("torch")
    log(LogFile(), tmp_path, state_of(), a=numpy.float32(0.5), b=torch.tensor(2), c=numpy.float64("nan"), step=1)
    assert lines(tmp_path) == [{"a": 0.5, "b": 2, "c": None, "step": 1}]


def test_a_resumed_run_has_each_step_once(tmp_path: Path) -> None:
    """A run is killed in step 4; its checkpoint is of step 2."""
    callback, state = LogFile(), state_of()
    begin(callback, tmp_path, state)
    for step in (1, 2, 3):
        log(callback, tmp_path, state, step=step)
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 4, "rew')
    resumed, state = LogFile(), state_of({"step": 1}, {"step": 2})
    begin(resumed, tmp_path, state)
    log(resumed, tmp_path, state, step=3)
    assert lines(tmp_path) == [{"step": 1}, {"step": 2}, {"step": 3}]


def test_another_run_in_the_same_folder_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"step": 90}\n')
    callback, state = LogFile(), state_of()
    begin(callback, tmp_path, state)
    log(callback, tmp_path, state, step=1)
    assert lines(tmp_path) == [{"step": 1}]


def test_evaluations_before_and_after_the_training_are_kept(tmp_path: Path) -> None:
    callback = LogFile()
    log(callback, tmp_path, state_of(), eval_reward=0.1, step=0)
    state = state_of()  # a trainer has a new one when it begins
    begin(callback, tmp_path, state)
    log(callback, tmp_path, state, reward=0.5, step=1)
    end(callback, tmp_path, state)
    log(callback, tmp_path, state, eval_reward=0.9, step=1)
    assert lines(tmp_path) == [
        {"eval_reward": 0.1, "step": 0},
        {"reward": 0.5, "step": 1},
        {"eval_reward": 0.9, "step": 1},
    ]


def test_an_evaluation_by_another_process_adds_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"step": 1}\n{"step": 2, "half')
    log(LogFile(), tmp_path, state_of(), eval_reward=0.9, step=0)
    assert lines(tmp_path) == [{"step": 1}, {"eval_reward": 0.9, "step": 0}]


def test_only_the_main_process_writes(tmp_path: Path) -> None:
    callback, state = LogFile(), state_of(main=False)
    begin(callback, tmp_path, state)
    log(callback, tmp_path, state, step=1)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_was_removed_begins_again(tmp_path: Path) -> None:
    callback, state = LogFile(), state_of()
    begin(callback, tmp_path, state)
    log(callback, tmp_path, state, step=1)
    (tmp_path / "log.jsonl").unlink()
    log(callback, tmp_path, state, step=2)
    assert lines(tmp_path) == [{"step": 2}]


@pytest.mark.parametrize("obstacle", ["folder", "full disk"])
def test_what_cannot_be_written_is_said_once_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, obstacle: str
) -> None:
    callback, state = LogFile(), state_of()
    if obstacle == "folder":
        (tmp_path / "log.jsonl").mkdir()
    else:
        begin(callback, tmp_path, state)
        log(callback, tmp_path, state, step=0)
        monkeypatch.setattr("guard_reward.files._write_all", _half)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for step in (1, 2):
            log(callback, tmp_path, state, reward=0.5, step=step)
    (said,) = [str(warning.message) for warning in caught]
    assert "log.jsonl cannot be written" in said
    assert "the training goes on" in said
    if obstacle == "full disk":  # then there is room again
        monkeypatch.undo()
        log(callback, tmp_path, state, step=3)
        assert lines(tmp_path) == [{"step": 0}, {"step": 3}]


def _half(file: Any, data: bytes) -> None:
    file.write(data[: len(data) // 2])
    raise OSError(28, "No space left on device")


CHILD = """
import os, signal, sys
from transformers import TrainerCallback
from guard_reward import GuardReward
from guard_reward.monitoring.log_file import LogFile
from guard_reward.tiny import build_tiny_policy, load_tiny_guard
from guard_reward.tiny.grpo import DemoSettings, trainer_arguments, training_requests
from trl import GRPOConfig, GRPOTrainer

class Kill(TrainerCallback):
    def on_log(self, args, state, control, **_):
        if state.global_step == 3 and sys.argv[2] == "kill":
            os.kill(os.getpid(), signal.SIGKILL)

settings = DemoSettings(steps=4, batch_size=4, num_generations=4, max_completion_length=8)
arguments = trainer_arguments(sys.argv[1], seed=0, settings=settings)
arguments |= {"save_strategy": "steps", "save_steps": 2, "save_only_model": False, "disable_tqdm": True}
trainer = GRPOTrainer(
    str(build_tiny_policy()), GuardReward(load_tiny_guard(), prompt_label_column="harmful"), GRPOConfig(**arguments),
    training_requests(0, 4, 0.5), callbacks=[LogFile(), Kill()],
)
trainer.train(resume_from_checkpoint=sys.argv[2] == "resume")
trainer.save_state()
"""


@pytest.mark.slow
def test_a_real_run_that_is_killed_and_resumed(tmp_path: Path) -> None:
    pytest.importorskip("trl")
    command = [sys.executable, "-c", CHILD, str(tmp_path)]
    options: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 300, "env": environment()}
    killed = subprocess.run([*command, "kill"], **options)
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-3000:]
    assert [line["step"] for line in lines(tmp_path)] == [1, 2, 3]  # the checkpoint has two
    assert all("guard/safe_rate" in line for line in lines(tmp_path))
    resumed = subprocess.run([*command, "resume"], **options)
    assert resumed.returncode == 0, resumed.stderr[-3000:]
    history = json.loads((tmp_path / "trainer_state.json").read_text())["log_history"]
    assert [line["step"] for line in lines(tmp_path)] == [1, 2, 3, 4, 4]
    assert lines(tmp_path) == json.loads(json.dumps(history), parse_constant=lambda _: None)


def environment() -> dict[str, str]:
    root = Path(__file__).resolve().parents[2]
    path = os.pathsep.join(filter(None, (str(root), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


def test_a_second_training_keeps_the_log_of_the_first(tmp_path: Path) -> None:
    for run in (1, 2, 3):
        callback, state = LogFile(), state_of()
        begin(callback, tmp_path, state)
        log(callback, tmp_path, state, step=run)
        end(callback, tmp_path, state)
    assert lines(tmp_path) == [{"step": 3}]
    assert [json.loads((tmp_path / f"log.{number}.jsonl").read_text()) for number in (1, 2)] == [
        {"step": 1},
        {"step": 2},
    ]
