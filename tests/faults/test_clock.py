"""The wall clock jumps, by a day and back, whenever it is read: durations, deadlines and rates stay what they are."""

from __future__ import annotations

import json
import time
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from guard_reward import GuardReward
from guard_reward.guards.served.failures import RequestFailed
from guard_reward.guards.served.replicas import Replica
from guard_reward.guards.served.retries import Deadline
from guard_reward.moderation.moderate import moderate_file
from guard_reward.monitoring.progress import Progress
from guard_reward.rewards.circuit_breaker import CircuitBreaker, GuardOutageError
from tests.scripted_guard import ScriptedGuard

DAY = 86_400.0


@pytest.fixture(autouse=True)
def jumps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How often the clock was read: every time it is a day ahead or a day behind."""
    now, reads, read = time.time, [], count()

    def jumping() -> float:
        reads.append(next(read))
        return now() + DAY * (-1) ** len(reads)

    monkeypatch.setattr(time, "time", jumping)
    assert abs(time.time() - time.time()) > DAY
    return reads


def test_a_reward_and_its_metrics() -> None:
    metrics: dict[str, float] = {}
    reward = GuardReward(ScriptedGuard())
    rewards = reward(prompts=["Q?"] * 2, completions=["fine", "bomb"], log_metric=metrics.__setitem__)
    assert rewards == [1.0, 0.0]
    assert 0 <= metrics["guard/seconds"] < 60
    assert metrics["guard/rollouts_per_second"] > 0.01


def test_the_circuit_breaker_counts_rows_and_not_time() -> None:
    reward = GuardReward(ScriptedGuard(), breaker=CircuitBreaker(window=4))
    assert reward(prompts=["Q?"] * 2, completions=["broken"] * 2) == [None, None]
    with pytest.raises(GuardOutageError):
        reward(prompts=["Q?"] * 2, completions=["broken"] * 2)


def test_a_journal_goes_on_where_it_was(tmp_path: Path) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("".join(json.dumps({"prompt": f"fine {number}"}) + "\n" for number in range(9)))

    class Stopped(ScriptedGuard):
        def moderate(self, conversations: Any) -> Any:
            if len(self.asked) >= 6:
                raise KeyboardInterrupt
            return super().moderate(conversations)

    with pytest.raises(KeyboardInterrupt):
        moderate_file(source, target, guard=Stopped(), chunk_rows=3)
    summary = moderate_file(source, target, guard=ScriptedGuard(), chunk_rows=3)
    assert (summary.resumed_rows, summary.judged_rows) == (6, 3)
    assert 0 <= summary.seconds < 60
    assert len(target.read_text().splitlines()) == 9


def test_a_deadline_and_the_rest_of_a_replica() -> None:
    assert 59 < Deadline(60).left <= 60
    replica = Replica("http://127.0.0.1:1/v1")
    replica.leave_out(30, RequestFailed("gone"))
    assert 0 < replica.rests_until - time.monotonic() <= 30


def test_the_remaining_time_of_a_training(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress("run", seconds_between_lines=0)
    state = SimpleNamespace(global_step=0, max_steps=10, is_world_process_zero=True)
    arguments = SimpleNamespace(disable_tqdm=False)
    progress.on_train_begin(arguments, state, None)
    state.global_step = 5
    progress.on_log(arguments, state, None, logs={"reward": 0.5})
    line = capsys.readouterr().err
    assert "step 5/10" in line
    assert "day" not in line
    assert "-" not in line.split("reward")[-1]
