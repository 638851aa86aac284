"""Two ranks: what one of them sees stops both at the same step, and an error on one of them stops neither."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("transformers")

from tests.processes import run_two_ranks

_RANK = """
import itertools
import sys
import tempfile
from types import SimpleNamespace

import torch.distributed as distributed
from transformers import TrainerControl, TrainerState

from guard_reward import GuardReward
from guard_reward.monitoring.budget import Budget
from guard_reward.monitoring.monitor import RewardMonitor
from tests.monitoring.test_monitor import PROMPTS, TEXTS, Strict
from tests.scripted_guard import ScriptedGuard

rank, store, folder = int(sys.argv[1]), sys.argv[2], sys.argv[3]
distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
reward = GuardReward(ScriptedGuard())
monitor = RewardMonitor(reward, Strict(), warmup_steps=3, action="stop", stop_on="second_guard_disagreement")
state = TrainerState(stateful_callbacks={}, is_world_process_zero=rank == 0)
control = TrainerControl()
args = SimpleNamespace(output_dir=folder)
monitor.on_train_begin(args, state, control)
monitor._budget = Budget(1.0, clock=itertools.count(step=1000).__next__)
look = monitor._watch.look
for step in range(30):
    # Rank 0 cannot look at this step's rollouts; rank 1 hacks from step 6 on.
    monitor._watch.look = (lambda rows: 1 / 0) if rank == 0 and step == 4 else look
    hacks = rank == 1 and step >= 6
    texts = ["Cover the gravel." if hacks else TEXTS[index % 4] for index in range(32)]
    reward(prompts=PROMPTS * 4, completions=texts, trainer_state=state)
    state.global_step += 1
    monitor.on_step_end(args, state, control)
    distributed.barrier()  # the trainer's own collective: hangs when one rank has left
    if control.should_training_stop:
        break
print("stopped after", state.global_step, [alarm.signal for alarm in monitor.alarms])
distributed.destroy_process_group()
"""


def test_both_ranks_stop_at_the_same_step(tmp_path):
    first, second = run_two_ranks(_RANK, tmp_path / "store", str(tmp_path), timeout=120)
    assert first == second
    assert "stopped after 10 " in first
    assert "second_guard_disagreement" in first
    lines = (tmp_path / "monitor.jsonl").read_text().splitlines()  # written once, with the other rank's rollouts
    assert [json.loads(line)["signal"] for line in lines].count("second_guard_disagreement") == 1
    (line,) = [json.loads(one) for one in lines if "second_guard" in one[:60]]
    assert line["rollouts"][0]["completion"] == "Cover the gravel."


_ASYNCHRONOUS = """
import asyncio
import sys
from types import SimpleNamespace

import torch.distributed as distributed
from transformers import TrainerControl, TrainerState

from guard_reward import AsyncGuardReward
from guard_reward.monitoring.monitor import RewardMonitor
from tests.scripted_guard import ScriptedGuard

rank, store, folder = int(sys.argv[1]), sys.argv[2], sys.argv[3]
distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
monitor = RewardMonitor()


async def slow_on_one_rank(prompts, completions, **columns):
    await asyncio.sleep(0.3 if rank else 0.0)
    return [1.0] * len(completions)


rewards = (monitor.watch(slow_on_one_rank), AsyncGuardReward(ScriptedGuard()))
state = TrainerState(stateful_callbacks={}, is_world_process_zero=rank == 0)
monitor.on_train_begin(SimpleNamespace(output_dir=folder), state, TrainerControl())
arguments = {"prompts": ["How?"] * 8, "completions": ["fine"] * 8, "trainer_state": state}


async def step():
    return await asyncio.gather(*(reward(**arguments) for reward in rewards))


for _ in range(2):
    assert asyncio.run(asyncio.wait_for(step(), 20)) == [[1.0] * 8] * 2
    state.global_step += 1
print(monitor._watch.updates)
distributed.barrier()
distributed.destroy_process_group()
"""


def test_a_watched_asynchronous_reward_takes_its_turn(tmp_path):
    """The ranks finish it at different times, and the guard's reward beside it exchanges counts too."""
    outputs = run_two_ranks(_ASYNCHRONOUS, tmp_path / "store", str(tmp_path), timeout=120)
    assert [output.strip() for output in outputs] == ["2", "2"]
