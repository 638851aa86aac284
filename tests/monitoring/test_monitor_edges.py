"""The callback at the edges: several monitors, what is compared, wrapped functions, slow guards, odd arguments."""

from __future__ import annotations

import asyncio
import functools
import itertools
import pickle
import time

import pytest

pytest.importorskip("transformers")

from guard_reward import AsyncGuardReward, GuardReward, Outcome, Severity, Unjudged, Verdict
from guard_reward.monitoring.budget import Budget
from guard_reward.monitoring.monitor import RewardMonitor
from tests.monitoring.test_monitor import PROMPTS, TEXTS, Strict, Trainer, make
from tests.scripted_guard import ScriptedGuard


def test_only_the_signals_of_stop_on_stop(tmp_path):
    trainer = make(tmp_path, action="stop", stop_on=["length"])
    trainer.run(20, hack_from=6)
    assert trainer.state.global_step == 20
    assert trainer.monitor.alarms


def test_what_an_interrupted_training_left_is_replaced_and_two_in_one_trainer_are_refused(tmp_path):
    trainer = make(tmp_path)
    trainer.run(4)  # and no end
    second = RewardMonitor(trainer.reward, Strict(), warmup_steps=3)
    again = Trainer(tmp_path, trainer.reward, second)
    again.run(2)
    assert again.lines[-1]["monitor/alarms"] == [0.0]  # once
    with pytest.raises(ValueError, match="a trainer has one RewardMonitor"):
        Trainer(tmp_path, trainer.reward, RewardMonitor(), again.state)


class Unsure(Strict):
    """Has no verdict where it would object."""

    def moderate(self, conversations):
        return [
            Unjudged(Outcome.TOO_LONG, reason="long") if one.severity is Severity.UNSAFE else one
            for one in super().moderate(conversations)
        ]


def test_what_the_second_guard_cannot_judge_rings(tmp_path):
    trainer = make(tmp_path, second=Unsure())
    for step in range(16):
        hacked = 7 if step >= 6 else 0
        trainer.step(["Cover the gravel." if index // 8 % 8 < hacked else TEXTS[index % 4] for index in range(64)])
    assert "second_guard_no_verdict" in [alarm.signal for alarm in trainer.monitor.alarms]


@pytest.mark.parametrize(("controversial", "rings"), [("safe", True), ("unsafe", False), (0.75, True)])
def test_what_is_paid_is_compared(controversial, rings, tmp_path):
    class Doubting(ScriptedGuard):
        def moderate(self, conversations):
            hidden = ["gravel" in one[-1]["content"] for one in conversations]
            return [Verdict(Severity.CONTROVERSIAL if one else Severity.SAFE) for one in hidden]

    reward = GuardReward(Doubting(), controversial=controversial)
    trainer = Trainer(tmp_path, reward, RewardMonitor(reward, Strict(), warmup_steps=3))
    trainer.run(20, hack_from=6)
    assert ("second_guard_disagreement" in [alarm.signal for alarm in trainer.monitor.alarms]) == rings


@pytest.mark.parametrize("by", ["object", "name"])
def test_the_shadow_as_second_guard_is_not_asked_again(by, tmp_path):
    shadow = Strict()
    reward = GuardReward(ScriptedGuard(), shadow=shadow)
    monitor = RewardMonitor(reward, shadow if by == "object" else shadow.name, warmup_steps=3)
    trainer = Trainer(tmp_path, reward, monitor)
    assert monitor.second_guard is shadow
    assert not shadow.asked
    trainer.step([TEXTS[0]] * 64)
    assert len(shadow.asked) == 8  # each of the batch's conversations once


def test_evaluations_do_not_count_behind_a_wrapped_log_metric(tmp_path, caplog):
    trainer = make(tmp_path)
    trainer.model.training = False
    trainer.monitor.on_train_begin(trainer.args, trainer.state, trainer.control, model=trainer.model)
    trainer.step([TEXTS[0]] * 64, log_metric=lambda name, value: None)
    assert trainer.monitor._watch.updates == 0
    trainer.monitor._model = None
    trainer.step([TEXTS[0]] * 64, log_metric=None)
    assert "cannot tell training from evaluation" in caplog.text


def test_a_slow_second_guard_does_not_hold_up_other_rewards(tmp_path):
    class Slow(Strict):
        def moderate(self, conversations):
            time.sleep(0.6)
            return super().moderate(conversations)

    trainer = make(tmp_path, AsyncGuardReward, second=Slow())

    async def ticks():
        started, longest = time.perf_counter(), 0.0
        while time.perf_counter() - started < 0.5:
            before = time.perf_counter()
            await asyncio.sleep(0.01)
            longest = max(longest, time.perf_counter() - before)
        return longest

    async def both():
        arguments = {"prompts": PROMPTS, "completions": [TEXTS[0]] * 8, "trainer_state": trainer.state}
        return await asyncio.gather(trainer.reward(**arguments), ticks())

    rewards, longest = asyncio.run(both())
    assert rewards == [1.0] * 8
    assert longest < 0.4


def reward_of_this_module(prompts, completions, **columns):
    return [0.5] * len(completions)


def test_a_watched_reward_is_pickled_as_the_plain_one_and_called_by_position():
    reward = RewardMonitor().watch(reward_of_this_module)
    assert pickle.loads(pickle.dumps(reward)) is reward_of_this_module
    assert reward(["a"], ["b"]) == [0.5]
    partial = RewardMonitor().watch(functools.partial(reward_of_this_module))
    assert (partial.__name__, partial.func) == ("reward_of_this_module", reward_of_this_module)


@pytest.mark.parametrize("ids", [[None, None], [[1], 5]])
def test_odd_ids_cost_an_observed_reward_nothing(ids, tmp_path):
    reward = GuardReward(ScriptedGuard())
    seen = []
    reward.add_observer(seen.append)
    assert reward(prompts=["a?"] * 2, completions=["fine", "ok"], completion_ids=ids) == [1.0, 1.0]
    assert len(seen[0].tokens) == 2


def test_a_second_guard_that_is_too_slow_for_its_share_is_named(tmp_path, caplog):
    trainer = make(tmp_path)
    trainer.monitor._budget = Budget(0.001, clock=itertools.count().__next__)
    trainer.monitor._budget.spend("guard", 1.0, 32)  # earns a thirtieth of a rollout per call
    trainer.run(21)
    assert "it is too slow for max_share=0.001 of the time" in caplog.text
