"""A run's log, put together from files that were written live, with checkpoints, or by several launches."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard_reward.report import json_files
from guard_reward.report.log import kind_of, merged, read_log
from tests.report.run_folders import final_line, write_lines, write_state


def train(step: int, loss: float = 1.0) -> dict[str, Any]:
    return {"loss": loss, "step": step}


def evaluated(step: int, loss: float = 1.0, name: str = "") -> dict[str, Any]:
    return {f"eval_{name}loss": loss, f"eval_{name}runtime": 1.0, "step": step}


# what was logged, in this order → step and kind of each line that counts
MERGES = [
    ([train(1), train(2), final_line(2)], "1 training, 2 training, 2 final"),
    ([train(1), evaluated(1), train(2)], "1 training, 1 eval_runtime, 2 training"),
    ([evaluated(0), train(1)], "0 eval_runtime, 1 training"),  # eval_on_start
    ([evaluated(5, name="a_"), evaluated(5, name="b_")], "5 eval_a_runtime, 5 eval_b_runtime"),  # two sets
    ([train(1), train(2), train(3), train(2)], "1 training, 2 training"),  # what was given up is gone
    ([train(2), evaluated(2), train(1), train(2)], "1 training, 2 training"),
    ([train(2), final_line(2), train(3), final_line(3)], "2 training, 2 final, 3 training, 3 final"),  # more steps
    ([train(1), {"loss": 2.0}, {"loss": 2.0, "step": "two"}, {"step": True}, {"step": -1}], "1 training"),
    ([{"loss": 1.0, "step": 3.0}], "3 training"),
]


@pytest.mark.parametrize(("lines", "expected"), MERGES)
def test_each_step_and_kind_is_there_once(lines: list[dict[str, Any]], expected: str) -> None:
    assert ", ".join(f"{line['step']} {kind_of(line)}" for line in merged(lines)) == expected


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(1, 12)), min_size=1, max_size=8))
def test_restarts_in_any_order_leave_the_last_attempt_of_each_step(launches: list[tuple[int, int]]) -> None:
    """Each launch begins behind a checkpoint that there is, and logs some steps."""
    written: list[dict[str, Any]] = []
    expected: dict[int, int] = {}
    reached = 0
    for attempt, (checkpoint, count) in enumerate(launches):
        start = min(checkpoint, reached)
        steps = range(start + 1, start + count + 1)
        for step in steps:
            written += [train(step, attempt), *([evaluated(step, attempt)] if step % 3 == 0 else [])]
        reached = steps[-1]
        expected = {step: by for step, by in expected.items() if step <= start} | dict.fromkeys(steps, attempt)
    found = merged(written)
    assert [line["step"] for line in found if "loss" in line] == sorted(expected)
    assert {line["step"]: line["loss"] for line in found if "loss" in line} == expected
    assert {line["step"]: line["eval_loss"] for line in found if "eval_loss" in line} == {
        step: by for step, by in expected.items() if step % 3 == 0
    }


def steps_of(folder: Path, notes: list[str] | None = None) -> list[int]:
    return [line["step"] for line in read_log(folder, [] if notes is None else notes).lines]


def at(path: Path, seconds: float) -> None:
    os.utime(path, (seconds, seconds))


def test_a_live_log_begins_where_the_state_ends(tmp_path: Path) -> None:
    at(write_state(tmp_path / "checkpoint-4", [train(step) for step in (1, 2, 3, 4)]), 100)
    at(write_lines(tmp_path / "log.jsonl", [train(4), train(5, 9.0), train(6, 9.0)]), 200)
    log = read_log(tmp_path, [])
    assert [(line["step"], line["loss"]) for line in log.lines] == [(1, 1), (2, 1), (3, 1), (4, 1), (5, 9), (6, 9)]
    assert not log.is_finished


def test_a_checkpoint_of_an_attempt_that_was_given_up_does_not_count(tmp_path: Path) -> None:
    at(write_state(tmp_path / "checkpoint-8", [train(step) for step in range(1, 9)]), 100)
    at(write_lines(tmp_path / "log.jsonl", [train(step) for step in range(1, 6)]), 200)
    assert steps_of(tmp_path) == [1, 2, 3, 4, 5]


def test_the_state_fills_in_what_a_live_log_has_lost(tmp_path: Path) -> None:
    at(write_lines(tmp_path / "log.jsonl", [train(1), "{broken\n", train(3)]), 100)
    at(write_state(tmp_path, [train(step) for step in (1, 2, 3, 4)]), 200)
    notes: list[str] = []
    assert steps_of(tmp_path, notes) == [1, 2, 3, 4]
    assert notes == ["log.jsonl: line 2 could not be read."]


def test_the_newest_checkpoint_that_can_be_read(tmp_path: Path) -> None:
    write_state(tmp_path / "checkpoint-9", [train(9)])
    write_state(tmp_path / "checkpoint-10", [train(9), train(10)])
    write_state(tmp_path / "checkpoint-11", [train(11)]).write_text('{"log_history": [')  # is being written
    (tmp_path / "checkpoint-x").mkdir()
    notes: list[str] = []
    assert steps_of(tmp_path, notes) == [9, 10]
    assert len(notes) == 1
    assert notes[0].startswith("trainer_state.json could not be read")


def test_a_checkpoint_that_has_come_further_than_the_final_state(tmp_path: Path) -> None:
    write_state(tmp_path, [train(5), final_line(5)])
    write_state(tmp_path / "checkpoint-7", [train(5), train(7)])
    assert steps_of(tmp_path) == [5, 7]


# lines of the file → steps that are read, notes
LINES = [
    ([train(1), '{"step": 2, "lo'], [1], []),  # a last line that is being written
    ([train(1), json.dumps(train(2))], [1, 2], []),  # … and one without a line break
    ([train(1), '{"step": 2, "lo\n', train(3)], [1, 3], ["log.jsonl: line 2 could not be read."]),
    (["[1]\n", "null\n", train(3)], [3], ["log.jsonl: 2 lines (the first is line 1) could not be read."]),
    (["\n", train(1), "\n"], [1], []),
    (['{"step": 1, "a": ' + "[" * 100_000 + "\n", train(2)], [2], ["log.jsonl: line 1 could not be read."]),
    (['{"step": 1, "a": ' + "9" * 5000 + "}\n", train(2)], [2], ["log.jsonl: line 1 could not be read."]),
    (["\x00\x00\n", train(2)], [2], ["log.jsonl: line 1 could not be read."]),
]


@pytest.mark.parametrize(("lines", "steps", "expected"), LINES)
def test_broken_lines(tmp_path: Path, lines: list[Any], steps: list[int], expected: list[str]) -> None:
    write_lines(tmp_path / "log.jsonl", lines)
    notes: list[str] = []
    assert steps_of(tmp_path, notes) == steps
    assert notes == expected


def test_values_that_nothing_can_show(tmp_path: Path) -> None:
    text = '{"step": 1, "a": NaN, "b": -Infinity, "c": 1e999, "d": %s, "e": {"f": 1}, "g\\ud800": 2, "h": "%s"}\n'
    write_lines(tmp_path / "log.jsonl", [text % ("9" * 400, "x" * 300)])
    assert read_log(tmp_path, []).lines == [{"step": 1, "g\ufffd": 2}]


def test_a_line_that_is_too_long_is_never_whole_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_files, "MAX_LINE_BYTES", 1000)
    write_lines(tmp_path / "log.jsonl", [train(1), '{"step": 2, "x": "' + "x" * 5000 + '"}\n', train(3)])
    notes: list[str] = []
    assert steps_of(tmp_path, notes) == [1, 3]
    assert notes == ["log.jsonl: line 2 could not be read."]


def test_a_pipe_does_not_hang_and_a_loop_of_links_ends(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log.jsonl")
    (tmp_path / "checkpoint-1").symlink_to(tmp_path / "checkpoint-2")
    (tmp_path / "checkpoint-2").symlink_to(tmp_path / "checkpoint-1")
    assert steps_of(tmp_path) == []


@pytest.mark.parametrize(
    ("lines", "facts", "is_finished"),
    [
        ([train(5), final_line(5)], {}, True),
        ([train(5)], {"max_steps": 5}, True),  # the last checkpoint is written before the final line
        ([train(5)], {"max_steps": 6}, False),
        ([train(5), final_line(5), train(6)], {}, False),  # resumed
        ([train(5), final_line(5), evaluated(5)], {}, True),  # trainer.evaluate() afterwards
        ([evaluated(0)], {}, False),
    ],
)
def test_whether_a_run_is_finished(tmp_path: Path, lines: Any, facts: dict[str, Any], is_finished: bool) -> None:
    write_state(tmp_path, lines, **facts)
    assert read_log(tmp_path, []).is_finished is is_finished
