"""What a training shows: a bar on a terminal, lines elsewhere, and the numbers of a safety reward in both."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("transformers")

from guard_reward.monitoring.progress import Progress, show_progress, summary
from guard_reward.progress_bars import hidden

NAN = float("nan")
GUARD = {"guard/safe_rate": 0.94, "guard/refusal_rate": 0.375}


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ({"loss": 0.1}, {}),  # PPO's or a supervised trainer's
        ({"train_runtime": 3.0, "train_loss": 0.1}, {}),  # the last line of a run
        ({"reward": 0.5}, {"reward": "0.50"}),  # another reward than a guard
        ({"reward": None, **GUARD}, {}),  # TRL's None: every reward was None
        ({"reward": NAN}, {}),
        ({"reward": -8.444, "kl": 0.0123}, {"reward": "-8.44", "kl": "0.012"}),
        ({"reward": 1, "kl": NAN, **GUARD}, {"reward": "1.00", "safe": "94%", "refused": "38%"}),
        ({"reward": 1, **GUARD, "kl": 0.1}, {"reward": "1.00", "safe": "94%", "refused": "38%", "kl": "0.1"}),
        (
            {"reward": 1, **GUARD, "guard/refusal_rate/harmful": 0.81, "guard/refusal_rate/benign": 0.04},
            {"reward": "1.00", "safe": "94%", "refused": "4% benign, 81% harmful"},
        ),
        (  # no benign prompt in this line
            {"reward": 1, **GUARD, "guard/refusal_rate/harmful": 0.81},
            {"reward": "1.00", "safe": "94%", "refused": "81% harmful"},
        ),
        (  # a guard that says nothing about refusals, and a reward by another name
            {"reward": 1, "wildguard/safe_rate": 0.5},
            {"reward": "1.00", "safe": "50%"},
        ),
        (  # two rewards with guards; thinking is a part of one
            {"reward": 1, "a/safe_rate": 0.5, "a/thinking/safe_rate": 0.1, "b/safe_rate": 0.25, "b/refusal_rate": 0.0},
            {"reward": "1.00", "a safe": "50%", "b safe": "25%", "b refused": "0%"},
        ),
        ({"eval_reward": 1, "eval_guard/safe_rate": 0.5}, {"reward": "1.00", "safe": "50%"}),
        (  # the rate of all rows, not the mean of the calls' rates
            {"reward": 1, "guard/safe_rate": 0.5, "guard/sum/safe_rate": 0.5, "guard/rows/judged": 5.0},
            {"reward": "1.00", "safe": "10%"},
        ),
    ],
)
def test_summary(line: Mapping[str, Any], shown: dict[str, str]) -> None:
    assert list(summary(line).items()) == list(shown.items())


class Run:
    """A trainer's calls of one callback, without a trainer."""

    def __init__(self, callback: Progress, *, main: bool = True, disable_tqdm: bool = False, done: int = 0) -> None:
        self.callback, self.args = callback, SimpleNamespace(disable_tqdm=disable_tqdm)
        self.state = SimpleNamespace(is_world_process_zero=main, max_steps=done + 3, global_step=done)
        callback.on_train_begin(self.args, self.state, None)

    def step(self, **logs: Any) -> None:
        self.state.global_step += 1
        self.callback.on_step_end(self.args, self.state, None)
        self.callback.on_log(self.args, self.state, None, logs=logs)

    def evaluate(self, **logs: Any) -> None:
        for _ in range(2):
            self.callback.on_prediction_step(self.args, self.state, None, eval_dataloader=[1, 2])
        self.callback.on_log(self.args, self.state, None, logs=logs)
        self.callback.on_evaluate(self.args, self.state, None)

    def end(self) -> None:
        self.callback.on_log(self.args, self.state, None, logs={"train_runtime": 1.0})
        self.callback.on_train_end(self.args, self.state, None)


def whole_run(run: Run) -> None:
    for step in (1, 2, 3):
        run.step(reward=step / 10, **GUARD)
        if step == 2:
            run.evaluate(eval_reward=0.9, **{f"eval_{name}": value for name, value in GUARD.items()})
    run.end()


def test_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    whole_run(Run(Progress("GRPO", seconds_between_lines=0), done=10))
    out, err = capsys.readouterr()
    assert out == ""
    assert [re.sub(r"[\d.e-]+ s/step", "S s/step", line) for line in err.splitlines()] == [
        "GRPO: step 11/13, reward 0.10, safe 94%, refused 38%, S s/step, 00:00 left",
        "GRPO: step 12/13, reward 0.20, safe 94%, refused 38%, S s/step, 00:00 left",
        "GRPO: step 12/13, evaluation: reward 0.90, safe 94%, refused 38%",
        "GRPO: step 13/13, reward 0.30, safe 94%, refused 38%",
    ]
    assert "\r" not in err
    assert "\x1b" not in err


def test_fast_steps_have_few_lines(capsys: pytest.CaptureFixture[str]) -> None:
    whole_run(Run(Progress(seconds_between_lines=3600)))
    err = capsys.readouterr().err
    assert [line.split(",")[0] + ("!" if "evaluation" in line else "") for line in err.splitlines()] == [
        "training: step 1/3",
        "training: step 2/3!",
        "training: step 3/3",
    ]


@pytest.mark.parametrize("quiet", [{"main": False}, {"disable_tqdm": True}, {"hidden": True}])
def test_nothing_on_other_ranks_and_when_it_is_switched_off(
    quiet: dict[str, bool], capsys: pytest.CaptureFixture[str]
) -> None:
    with hidden(quiet.pop("hidden", False)):
        whole_run(Run(Progress(seconds_between_lines=0), **quiet))
    assert capsys.readouterr() == ("", "")


def test_a_line_without_a_training_and_a_second_training(capsys: pytest.CaptureFixture[str]) -> None:
    callback = Progress(seconds_between_lines=0)
    state = SimpleNamespace(is_world_process_zero=True, max_steps=0, global_step=0)
    callback.on_log(SimpleNamespace(disable_tqdm=False), state, None, logs={"eval_reward": 0.5})
    assert capsys.readouterr().err == "evaluation: reward 0.50\n"
    for _ in range(2):
        whole_run(Run(callback))
        assert len(capsys.readouterr().err.splitlines()) == 4


@pytest.mark.parametrize("disable_tqdm", [False, True])
def test_transformers_bars_go_in_a_terminal_and_in_a_notebook(
    monkeypatch: pytest.MonkeyPatch, disable_tqdm: bool
) -> None:
    notebook = SimpleNamespace(NotebookProgressCallback=type("NotebookProgressCallback", (), {}))
    monkeypatch.setitem(sys.modules, "transformers.utils.notebook", notebook)
    added: list[Any] = []
    removed: list[Any] = []
    trainer: Any = SimpleNamespace(
        args=SimpleNamespace(disable_tqdm=disable_tqdm), add_callback=added.append, remove_callback=removed.append
    )
    progress = Progress()
    show_progress(trainer, progress)
    assert added == [progress]
    names = [kind.__name__ for kind in removed]
    assert names == ([] if disable_tqdm else ["ProgressCallback", "NotebookProgressCallback"])


CHILD = """
import sys
from guard_reward.monitoring.progress import Progress, show_progress
from guard_reward import GuardReward
from guard_reward.tiny import build_tiny_policy, load_tiny_guard
from guard_reward.tiny.grpo import DemoSettings, trainer_arguments, training_requests
from trl import GRPOConfig, GRPOTrainer

settings = DemoSettings(steps=3, batch_size=8, num_generations=4, max_completion_length=8)
arguments = trainer_arguments(sys.argv[1], seed=0, settings=settings) | {"eval_strategy": "steps", "eval_steps": 2}
data = training_requests(0, 6, 0.5)
trainer = GRPOTrainer(
    str(build_tiny_policy()), GuardReward(load_tiny_guard(), prompt_label_column="harmful"), GRPOConfig(**arguments),
    data, data,
)
show_progress(trainer, Progress("GRPO", seconds_between_lines=0))
trainer.train()
"""


def run_child(folder: Path, stderr: Any) -> subprocess.CompletedProcess[bytes]:
    root = Path(__file__).resolve().parents[2]
    path = os.pathsep.join(filter(None, (str(root), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-c", CHILD, str(folder)]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=stderr, env=environment, timeout=300)


@pytest.mark.slow
def test_a_real_training_on_a_terminal_and_in_a_pipe(tmp_path: Path) -> None:
    """transformers' dictionaries of 200 keys are gone from both."""
    pytest.importorskip("trl")
    main, terminal = pty.openpty()  # of no size, as some terminals are
    done = run_child(tmp_path, terminal)
    os.close(terminal)
    drawn = read_all(main)
    assert done.returncode == 0, drawn[-3000:]
    assert b"guard/safe_rate" not in done.stdout
    bars = [part for part in drawn.split("\r") if part.startswith("GRPO")]
    assert re.search(r"3/3 \[\d\d:\d\d<00:00, reward=[\d.]+, safe=\d+%, refused=\d+% benign", bars[-1])
    assert "evaluation" in drawn
    assert "guard/safe_rate" not in drawn

    done = run_child(tmp_path, subprocess.PIPE)
    lines = [line for line in done.stderr.decode().splitlines() if line.startswith("GRPO")]
    assert [line.split(",")[0] for line in lines] == [
        *("GRPO: step 1/3", "GRPO: step 2/3", "GRPO: step 2/3", "GRPO: step 3/3", "GRPO: step 3/3")
    ]
    assert b"guard/safe_rate" not in done.stdout + done.stderr


def read_all(descriptor: int) -> str:
    parts = []
    while True:
        try:
            part = os.read(descriptor, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        parts.append(part)
    os.close(descriptor)
    return b"".join(parts).decode()
