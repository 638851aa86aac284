"""The file of alarms: what a resumed and a new run leave of it."""

from __future__ import annotations

import json

import pytest

from guard_reward.monitoring.alarms import drop_alarms


@pytest.mark.parametrize(("done", "left"), [(1, [1]), (2, [1, 2]), (9, [1, 2, 3])])
def test_alarms_that_a_resumed_run_repeats_are_taken_out(done, left, tmp_path):
    (tmp_path / "monitor.jsonl").write_text("".join(f'{{"step": {step}}}\n' for step in (1, 2, 3)))
    drop_alarms(tmp_path, done)
    assert [json.loads(line)["step"] for line in (tmp_path / "monitor.jsonl").read_text().splitlines()] == left


def test_a_new_run_keeps_the_alarms_of_the_old_one_aside(tmp_path):
    (tmp_path / "monitor.jsonl").write_text('{"step": 3}\n')
    drop_alarms(tmp_path, 0)
    assert not (tmp_path / "monitor.jsonl").exists()
    assert (tmp_path / "monitor.1.jsonl").read_text() == '{"step": 3}\n'
