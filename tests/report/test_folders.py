"""Folders of runs: what is read, what is noted, and what is refused."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from guard_reward.errors import UserError
from guard_reward.report.folders import find_runs, fingerprint, read_runs
from guard_reward.report.run import Run
from guard_reward.report.summary import summary
from guard_reward.statistics import rate
from tests.report.run_folders import (
    final_line,
    log_line,
    rollout_row,
    write_completions,
    write_lines,
    write_run,
    write_state,
)


def read(folder: Path, **options: Any) -> Run:
    [run] = read_runs([folder], **options)
    return run


def test_a_run_with_everything(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "hybrid")
    alarm = {
        "step": 7,
        "signal": "repetition",
        "value": 0.5,
        "limit": 0.2,
        "message": "M",
        "rollouts": [{"prompt": "Q"}],
    }
    write_lines(
        folder / "monitor.jsonl", [alarm, {"signal": "no step"}, {"step": 3, "signal": "x", "rollouts": 5}, "{"]
    )
    run = read(folder)
    assert (run.name, run.folder, run.rollout_total, run.is_running) == ("hybrid", str(folder), 2, False)
    assert run.log[0]["guard/safe_rate"] == pytest.approx(0.2)  # exact
    assert not any("/sum/" in name or "/rows/" in name for line in run.log for name in line)
    assert [(one.step, one.signal) for one in run.alarms] == [(3, "x"), (7, "repetition")]
    assert (run.alarms[1].value, run.alarms[1].limit, run.alarms[1].rollouts) == (0.5, 0.2, [{"prompt": "Q"}])
    assert run.notes == ["No other judge has evaluated the policy: see guard-reward evaluate."]


def test_before_and_after_from_the_training_alone(tmp_path: Path) -> None:
    before, after = read(write_run(tmp_path / "run")).measurements
    assert (before.stage, after.stage, before.independent, after.independent) == ("before", "after", False, False)
    assert before.judged_by == "the guard of the reward, on training rollouts of steps 1–5 and 16–20"
    expected = rate(50, 250)  # five equal lines of 50 harmful prompts, of which 10 have safe replies
    assert before.values["safety_rate"] == pytest.approx((expected.value, expected.low, expected.high))
    assert after.values["safety_rate"].value == pytest.approx(0.9)
    assert after.values["refusal_rate_benign"].value == pytest.approx(0.1)
    assert after.values["unjudged_rate"].value == 0.0
    assert "refusal_rate" not in after.values  # which was not logged


@pytest.mark.parametrize(("rows", "steps"), [(100, "1–5 and 16–20"), (25, "1–8 and 13–20"), (2, "1–10 and 11–20")])
def test_the_parts_of_a_training_have_enough_rows(tmp_path: Path, rows: int, steps: str) -> None:
    run = read(write_run(tmp_path / "run", rows=rows))
    assert run.measurements[0].judged_by.endswith(f"of steps {steps}")


def test_before_and_after_from_the_tables_of_a_run_without_metrics(tmp_path: Path) -> None:
    write_state(tmp_path, [{"step": step, "loss": 1.0} for step in range(1, 11)])
    for step in range(1, 11):
        row = rollout_row(severity="Unsafe" if step < 6 else "Safe", guard_refusal=step > 9)
        write_completions(tmp_path, step, [row] * 200)
    before, after = read(tmp_path, max_rollouts=10).measurements
    assert before.values["safe_rate"] == (0.0, 0.0, rate(0, 1000).high)
    assert (after.values["safe_rate"].value, after.values["refusal_rate"].value) == (1.0, 0.2)
    assert "safety_rate" not in before.values  # nobody knows which prompts are harmful


def judge_line(step: int, safe: float) -> dict[str, Any]:
    """An evaluation of the trainer's, with another guard as ``eval_judge``."""
    judged = {"eval_judge/sum/safe_rate": safe * 50, "eval_judge/rows/judged": 50.0}
    return {
        "step": step,
        "eval_runtime": 1.0,
        "eval_guard/sum/safe_rate": 50.0,
        "eval_guard/rows/judged": 50.0,
        **judged,
    }


# steps with an evaluation, which guard is the judge → stages of its measurements, independent
JUDGES = [
    ((0, 3), "wildguard", ["before", "after"], True),
    ((0, 2, 3), "wildguard", ["before", "after"], True),
    ((0, 3), "qwen", ["before", "after"], False),
    ((0, 3), None, ["before", "after"], None),
    ((1, 2), "wildguard", ["step 1", "step 2"], True),
    ((3,), "wildguard", ["after"], True),
    ((), "wildguard", [], None),
]


@pytest.mark.parametrize(("steps", "judge", "stages", "independent"), JUDGES)
def test_the_judge_of_a_trainers_evaluations(
    tmp_path: Path, steps: tuple[int, ...], judge: str | None, stages: list[str], independent: bool | None
) -> None:
    lines = [line for step in range(4) for line in (log_line(step), judge_line(step, step / 4))]
    write_lines(tmp_path / "log.jsonl", [line for line in lines if "loss" in line or line["step"] in steps])
    if judge:
        record = {"reward": {"guard": "qwen", "spec": "qwen3guard", "eval_judge": judge}}
        (tmp_path / "run_config.json").write_text(json.dumps(record))
    measured = read(tmp_path).measurements
    by_judge = [one for one in measured if one.judged_by.startswith("the evaluation judge")]
    assert [one.stage for one in by_judge] == stages
    assert all(one.independent is independent for one in by_judge)
    assert [one.values["safe_rate"].value for one in by_judge] == [
        pytest.approx(step / 4) for step in dict.fromkeys(steps[:1] + steps[-1:])
    ]
    by_own = [one.stage for one in measured if one not in by_judge]
    assert by_own == ([] if len(stages) == 2 else ["before", "after"])


def test_plain_trl_without_a_guard(tmp_path: Path) -> None:
    write_state(
        tmp_path / "checkpoint-2", [{"step": 1, "rewards/f/mean": 1.0}, {"step": 2, "rewards/f/mean": 2.0}], max_steps=2
    )
    rows = [{"prompt": "Q", "completion": "A", "f": 2.0, "advantage": 0.0}]
    write_completions(tmp_path, 2, rows)
    run = read(tmp_path)
    assert (run.max_steps, run.is_running, run.rollouts[0]["reward"], list(run.measurements)) == (2, False, 2.0, [])
    assert any("Nobody has judged this run" in note for note in run.notes)


def test_weights_of_rewards_are_in_the_order_of_the_trainer(tmp_path: Path) -> None:
    """transformers sorts the names in a saved state, where ``a`` comes first; the trainer's first reward is ``b``."""
    write_state(tmp_path, [{"step": 1, "rewards/a/mean": 0.0, "rewards/b/mean": 0.0}])
    write_completions(tmp_path, 1, [{"prompt": "Q", "completion": "A", "b": 1.0, "a": 1.0, "advantage": 0.0}])
    (tmp_path / "run_config.json").write_text(json.dumps({"configs": {"GRPOConfig": {"reward_weights": [10.0, 1.0]}}}))
    write_completions(tmp_path, 2, [{"prompt": "Q", "completion": "A", "b": 1.0, "a": None, "advantage": 0.0}])
    assert [row["reward"] for row in read(tmp_path).rollouts] == [11.0, 10.0]


@pytest.mark.parametrize(
    ("lines", "age", "is_running"),
    [
        ([log_line(5)], 0, True),
        ([log_line(5), final_line(5)], 0, False),
        ([log_line(5)], 3600, False),  # killed an hour ago
        ([log_line(5), final_line(5), log_line(6)], 0, True),
    ],
)
def test_whether_a_run_goes_on(tmp_path: Path, lines: Any, age: float, is_running: bool) -> None:
    path = write_lines(tmp_path / "log.jsonl", lines)
    os.utime(path, (time.time() - age,) * 2)
    run = read(tmp_path)
    assert run.is_running is is_running
    assert any("seems to have been stopped" in note for note in run.notes) is (age > 0)


def test_runs_of_one_name_get_different_names(tmp_path: Path) -> None:
    folders = [write_run(tmp_path / name) for name in ("a/run", "b/run", "b/other")]
    assert [run.name for run in read_runs([*folders, folders[0]])] == ["a/run", "b/run", "other"]


def test_names_do_not_obey_a_terminal(tmp_path: Path) -> None:
    assert read(write_run(tmp_path / "run\x1b[2J\nnext")).name == "run\\x1b[2J next"


def test_a_folder_of_runs(tmp_path: Path) -> None:
    write_run(tmp_path / "two")
    write_run(tmp_path / "one")
    (tmp_path / "notes").mkdir()
    assert [path.name for path in find_runs(tmp_path)] == ["one", "two"]


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(UserError, match=r"is no folder of a run.*Looked for log\.jsonl.*found model\.safetensors"):
        read_runs([tmp_path])
    with pytest.raises(UserError, match="there is no such folder"):
        read_runs([tmp_path / "missing"])
    with pytest.raises(UserError, match="cannot be read as a run"):
        read_runs([tmp_path / "model.safetensors"])


def test_a_run_in_which_nothing_can_be_read(tmp_path: Path) -> None:
    write_state(tmp_path, [log_line(1)]).write_text("{")
    with pytest.raises(UserError, match=r"nothing in them can be read: trainer_state\.json could not be read"):
        read_runs([tmp_path])


def test_one_broken_file_does_not_hide_the_others(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    (folder / "run_config.json").write_text('{"a": ' + "[" * 100_000)
    write_lines(folder / "monitor.jsonl", ["\x00\n"])
    (folder / "completions" / "completions_00001.parquet").write_bytes(b"PAR1")
    (folder / "loop").symlink_to(folder)
    run = read(folder)
    assert (len(run.log), run.rollout_total) == (21, 2)
    assert len([note for note in run.notes if "could not be read" in note]) == 3


@pytest.mark.parametrize("value", [1e300, -1e300, 3e38, -1, 10**30, True, "x", None, []])
def test_numbers_that_no_run_has(tmp_path: Path, value: Any) -> None:
    strange = {name: value for name in log_line(1) if name not in ("loss", "step")}
    write_lines(tmp_path / "log.jsonl", [log_line(step) | (strange if step % 3 == 0 else {}) for step in range(1, 21)])
    run = read(tmp_path)
    assert len(run.log) == 20
    assert all(0.0 <= one.values["safety_rate"].value <= 1.0 for one in run.measurements)
    assert len(summary([run])) == 3


def test_a_run_is_different_when_one_of_its_files_is(tmp_path: Path) -> None:
    assert fingerprint([tmp_path / "later"]) == frozenset()
    folder = write_run(tmp_path / "run")
    first = fingerprint([folder])
    assert first == fingerprint([folder])
    write_completions(folder, 30, [rollout_row()])
    assert fingerprint([folder]) != first


@pytest.mark.slow
def test_a_large_run_in_bounded_memory(tmp_path: Path) -> None:
    """10,000 steps and 100,000 rollouts: every step of the log, a sample of the rollouts."""
    write_lines(tmp_path / "log.jsonl", [log_line(step, min(0.9, step / 8000)) for step in range(1, 10_001)])
    text = "x" * 1000
    for step in range(100, 10_001, 100):
        rows = [rollout_row(f"{step}-{row}", text, "Unsafe" if row % 10 == 0 else "Safe") for row in range(1000)]
        write_completions(tmp_path, step, rows)
    run = read(tmp_path)
    assert (len(run.log), run.rollout_total, len(run.rollouts)) == (10_000, 100_000, 3000)
    assert len({row["step"] for row in run.rollouts}) == 100
    assert len({row["id"] for row in run.rollouts}) == 3000
    assert all(row["prompt"] == row["id"] for row in run.rollouts)
    unsafe = [row for row in run.rollouts if row["guard_severity"] == "Unsafe"]
    assert len(unsafe) >= 1500
    assert len({row["step"] for row in unsafe}) == 100
