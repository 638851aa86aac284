"""Folders that TRL has really written: a short GRPO run of the tiny policy under the tiny guard."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

from guard_reward.launch.record import write_record
from guard_reward.report.folders import read_runs
from guard_reward.report.run import Run
from guard_reward.report.settings import settings_diff
from guard_reward.report.summary import summary

STEPS, BATCH = 10, 32

pytestmark = pytest.mark.slow


def train(out: Path) -> None:
    """Ten steps with an evaluation and a checkpoint after each fifth, and the log as it grows in ``log.jsonl``."""
    from transformers import TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    from guard_reward.tiny import load_tiny_guard
    from guard_reward.tiny.demo import make_reward
    from guard_reward.tiny.grpo import DemoSettings, trainer_arguments, training_requests
    from guard_reward.tiny.policy import build_tiny_policy

    class Live(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            with (out / "log.jsonl").open("a") as file:
                file.write(json.dumps(state.log_history[-1]) + "\n")

    policy = build_tiny_policy(0, "refusing")
    data = training_requests(0, 40, 0.6)
    data = data.add_column("source", ["tiny"] * len(data))
    arguments = trainer_arguments(out, seed=0, settings=DemoSettings(steps=STEPS, batch_size=BATCH))
    arguments |= {"log_completions": True, "num_completions_to_print": 0, "per_device_eval_batch_size": 8}
    arguments |= {"save_strategy": "steps", "save_steps": 5, "eval_strategy": "steps", "eval_steps": 5}
    reward = make_reward("hybrid", load_tiny_guard(0, device="cpu"), policy)
    trainer = GRPOTrainer(
        model=str(policy),
        reward_funcs=reward,
        train_dataset=data,
        eval_dataset=data.select(range(4)),
        args=GRPOConfig(**arguments),
        callbacks=[Live()],
    )
    write_record(trainer, reward, [trainer.args])
    trainer.train()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "hybrid"
    path.mkdir()
    train(path)
    return path


@pytest.fixture
def run(folder: Path) -> Run:
    [found] = read_runs([folder])
    return found


def test_all_of_a_run_is_read(run: Run) -> None:
    assert [line["step"] for line in run.log if "loss" in line] == list(range(1, STEPS + 1))
    assert [line["step"] for line in run.log if "eval_loss" in line] == [5, 10]
    assert (run.max_steps, run.is_running, run.rollout_total) == (STEPS, False, STEPS * BATCH)
    assert run.settings["scheme"].startswith("Hybrid(")
    assert run.settings["GRPOConfig.learning_rate"] == "0.0004"
    assert run.notes == ["No other judge has evaluated the policy: see guard-reward evaluate."]


def test_rollouts_are_those_of_the_log(run: Run) -> None:
    """In steps without an evaluation, whose rollouts TRL writes over those of the step."""
    for line in run.log:
        rows = [row for row in run.rollouts if row["step"] == line["step"]]
        if "loss" not in line or line["step"] % 5 == 0:
            continue
        assert len(rows) == BATCH
        assert sum(row["reward"] for row in rows) / BATCH == pytest.approx(line["reward"], abs=1e-4)
        safe = sum(row["guard_severity"] == "Safe" for row in rows) / BATCH
        assert safe == pytest.approx(line["guard/safe_rate"])
        assert all(isinstance(row["prompt"], str) and isinstance(row["completion"], str) for row in rows)


def test_three_sentences(run: Run) -> None:
    safety, cost, doubts = summary([run])
    assert "of the replies to harmful prompts, " in safety
    assert "refusals of benign prompts" in cost
    assert "KL from the reference policy" in cost
    assert doubts.startswith("Trust it with care: the judge is the guard that gave the reward")


def test_the_same_run_as_plain_trl_leaves_it(folder: Path, tmp_path: Path, run: Run) -> None:
    """Without a live log and a record: the log comes from the last checkpoint, the settings from what TRL writes."""
    plain = tmp_path / "plain"
    shutil.copytree(
        folder, plain, ignore=shutil.ignore_patterns("log.jsonl", "run_config.json", "*.safetensors", "*.pt")
    )
    [found] = read_runs([plain])
    assert [line["step"] for line in found.log] == [line["step"] for line in run.log if "train_runtime" not in line]
    assert (found.max_steps, found.is_running) == (STEPS, False)
    assert [row["reward"] for row in found.rollouts] == [row["reward"] for row in run.rollouts]
    assert [one.values for one in found.measurements] == [one.values for one in run.measurements]
    assert found.settings["trainer.max_steps"] == "10"
    assert found.settings["versions.TRL"]
    assert any("training_args.bin is a pickle file" in note for note in found.notes)
    assert not any(row.setting.startswith("GRPOConfig") for row in settings_diff([run, found]))
