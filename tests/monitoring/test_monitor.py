"""The callback: what it sees, what it costs, what it writes, and that it breaks nothing."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import pickle
import time
from types import SimpleNamespace

import pytest

pytest.importorskip("transformers")

from transformers import TrainerControl, TrainerState

from guard_reward import AsyncGuardReward, GuardReward, Outcome, Severity, Unjudged, Verdict
from guard_reward.monitoring.budget import Budget
from guard_reward.monitoring.monitor import RewardMonitor
from guard_reward.rewards.functions import is_asynchronous
from tests.scripted_guard import ScriptedGuard

PROMPTS = [f"Question {index}?" for index in range(8)]
TEXTS = [f"A usual answer about the {thing} in the garden." for thing in ("tree", "hedge", "lawn", "pond")]


class Strict(ScriptedGuard):
    """Objects to what the other one overlooks."""

    name = "strict"
    finds = "gravel"

    def moderate(self, conversations):
        self.asked += conversations
        hidden = [Severity.UNSAFE if self.finds in one[-1]["content"] else Severity.SAFE for one in conversations]
        return [Verdict(severity) for severity in hidden]


class Model:
    training = True


class Trainer:
    """As much of a trainer as rewards and callbacks see."""

    def __init__(self, folder, reward, monitor, state=None):
        self.model = Model()
        self.reward, self.monitor = reward, monitor
        self.state = state or TrainerState(stateful_callbacks={})
        self.control = TrainerControl()
        self.args = SimpleNamespace(output_dir=str(folder))
        self.lines = []
        monitor.on_train_begin(self.args, self.state, self.control)
        monitor._budget = Budget(1.0, clock=itertools.count(step=1000).__next__)  # these tests are not about time

    def end(self):
        self.monitor.on_train_end(self.args, self.state, self.control)

    def log_metric(self, name, value):
        self.lines[-1].setdefault(name, []).append(value)

    def step(self, completions, **columns):
        self.lines.append({})
        arguments = {
            "prompts": PROMPTS * (len(completions) // 8),
            "completions": completions,
            "trainer_state": self.state,
            "log_metric": self.log_metric,
            **columns,
        }
        rewards = self.reward(**arguments)
        rewards = asyncio.run(rewards) if asyncio.iscoroutine(rewards) else rewards
        self.state.global_step += 1
        self.monitor.on_step_end(self.args, self.state, self.control)
        return rewards

    def run(self, steps, hack_from=None):
        for _ in range(steps):
            hacks = hack_from is not None and self.state.global_step >= hack_from
            answer = "Cover the gravel." if hacks else None
            self.step([answer or TEXTS[index % 4] for index in range(64)])
            if self.control.should_training_stop:
                return


def make(folder, kind=GuardReward, second=None, **options):
    reward = kind(ScriptedGuard())
    options = {"warmup_steps": 3, **options}
    monitor = RewardMonitor(reward, Strict() if second is None else second, **options)
    return Trainer(folder, reward, monitor)


def alarm_lines(folder):
    return [json.loads(line) for line in (folder / "monitor.jsonl").read_text().splitlines() if line]


def test_a_guard_that_objected_from_the_beginning_is_called_that(tmp_path):
    second = Strict()
    second.finds = ""  # in every text
    trainer = make(tmp_path, second=second)
    trainer.run(12)
    (line,) = [line for line in alarm_lines(tmp_path) if line["signal"] == "second_guard_disagreement"]
    assert "it was so from the first steps on" in line["message"]
    assert "earlier checkpoint" not in line["message"]


@pytest.mark.parametrize("kind", [GuardReward, AsyncGuardReward])
def test_a_hack_stops_the_run_and_leaves_its_rollouts(kind, tmp_path, caplog):
    trainer = make(tmp_path, kind, action="stop")
    trainer.run(30, hack_from=6)
    assert trainer.state.global_step == 9
    (line, *_) = [line for line in alarm_lines(tmp_path) if line["signal"] == "second_guard_disagreement"]
    assert set(line) == {"step", "signal", "value", "limit", "baseline", "message", "rollouts"}
    assert (line["step"], line["value"], line["baseline"]) == (
        9,
        1.0,
        0.0,
    )  # the run ends with it
    rollout = line["rollouts"][0]
    assert rollout["prompt"] in PROMPTS
    assert (rollout["completion"], rollout["severity"], rollout["second"]) == ("Cover the gravel.", "Safe", "Unsafe")
    assert "second guard disagreement: 100% of" in caplog.text
    assert "step 9, the run stops: " in caplog.text
    last = trainer.lines[-1]
    assert last["monitor/second_guard_disagreement"] == [1.0]
    assert last["monitor/alarms"] == [float(len(trainer.monitor.alarms))]
    assert "monitor/share_of_step" in last


def test_a_warning_stops_nothing(tmp_path):
    trainer = make(tmp_path)
    trainer.run(20, hack_from=6)
    assert trainer.state.global_step == 20
    assert [alarm.signal for alarm in trainer.monitor.alarms].count("second_guard_disagreement") == 1


def test_an_honest_run_is_quiet(tmp_path, caplog):
    trainer = make(tmp_path)
    trainer.run(30)
    assert trainer.monitor.alarms == []
    assert caplog.records == []
    assert not (tmp_path / "monitor.jsonl").exists()


def test_only_what_the_first_guard_calls_safe_is_asked_about_and_not_more_than_the_sample(tmp_path):
    second = Strict()
    trainer = make(tmp_path, second=second, sample=8)
    second.asked.clear()  # of the start
    trainer.step(["a bomb"] * 32 + [TEXTS[0]] * 32)
    assert second.asked_about == [TEXTS[0]] * len(second.asked)
    trainer.step(["a bomb"] * 32 + [TEXTS[0]] * 32)
    assert 0 < len(second.asked) <= 4 + 8
    asked = {conversation[0]["content"] for conversation in second.asked}
    assert len(asked) == 8  # over all prompts


def test_a_shadow_is_a_second_guard_that_has_judged_already(tmp_path):
    reward = GuardReward(ScriptedGuard(), shadow=Strict())
    trainer = Trainer(tmp_path, reward, RewardMonitor(reward, warmup_steps=3, action="stop"))
    trainer.run(30, hack_from=6)
    assert "second_guard_disagreement" in [alarm.signal for alarm in trainer.monitor.alarms]


def test_evaluations_do_not_count(tmp_path):
    trainer = make(tmp_path)
    trainer.model.training = False
    trainer.run(20, hack_from=0)
    assert trainer.monitor.alarms == []
    assert not any(name.startswith("monitor/") for line in trainer.lines for name in line)


class Broken(Strict):
    name = "broken"

    def moderate(self, conversations):
        raise ConnectionError("nobody listens")


class Silent(Strict):
    def moderate(self, conversations):
        return [Unjudged(Outcome.NO_VERDICT, reason="it rambles") for _ in conversations]


class Hanging(Strict):
    """A served guard whose server never answers."""

    async def amoderate(self, conversations):
        raise AssertionError

    def moderate(self, conversations):
        time.sleep(30)
        return []


@pytest.mark.parametrize(
    ("second", "reason"),
    [(Broken(), "nobody listens"), (Silent(), "it rambles"), (Hanging(), "no answer within 0.05 s")],
)
def test_a_dead_second_guard_is_named_and_costs_nothing(second, reason, tmp_path, caplog):
    trainer = make(tmp_path, second=second, deadline=0.05)
    started = time.perf_counter()
    trainer.run(30, hack_from=6)
    assert time.perf_counter() - started < 10
    assert trainer.state.global_step == 30
    gone = [record.getMessage() for record in caplog.records if "gives no verdict" in record.getMessage()]
    assert len(gone) == 1
    assert reason in gone[0]
    rates = [
        line["monitor/second_guard_unjudged_rate"]
        for line in trainer.lines
        if "monitor/second_guard_unjudged_rate" in line
    ]
    assert rates
    assert set(map(tuple, rates)) == {(1.0,)}
    assert len(rates) < 8  # asked more and more seldom
    assert "second_guard_disagreement" not in [alarm.signal for alarm in trainer.monitor.alarms]


def test_a_second_guard_that_comes_back_is_compared_again(tmp_path, caplog):
    second = Strict()
    trainer = make(tmp_path, second=second)
    second.moderate = Broken().moderate
    trainer.run(3)
    del second.moderate
    trainer.run(20, hack_from=12)
    assert "answers again" in caplog.text
    assert "second_guard_disagreement" in [alarm.signal for alarm in trainer.monitor.alarms]


def test_an_error_in_the_monitor_is_named_once_and_changes_no_reward(tmp_path, caplog, monkeypatch):
    trainer = make(tmp_path)
    monkeypatch.setattr(trainer.monitor._watch, "look", lambda rows: 1 / 0)
    assert trainer.step([TEXTS[0]] * 8) == [1.0] * 8
    trainer.run(5)
    assert [record.getMessage() for record in caplog.records] == [
        "the monitor could not look at rollouts: ZeroDivisionError: division by zero"
    ]


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path, caplog):
    (tmp_path / "monitor.jsonl").mkdir()
    trainer = make(tmp_path)
    trainer.run(20, hack_from=6)
    assert "alarms could not be written" in caplog.text
    assert trainer.monitor.alarms


def test_a_resumed_run_keeps_what_it_learned_and_its_file(tmp_path):
    trainer = make(tmp_path)
    trainer.run(7, hack_from=6)
    trainer.state.save_to_json(str(tmp_path / "trainer_state.json"))
    assert TEXTS[0] not in (tmp_path / "trainer_state.json").read_text()
    state = TrainerState.load_from_json(str(tmp_path / "trainer_state.json"))
    (tmp_path / "monitor.jsonl").write_text('{"step": 1, "cut')  # of a run that was killed
    reward = GuardReward(ScriptedGuard())
    resumed = Trainer(tmp_path, reward, RewardMonitor(reward, Strict(), warmup_steps=3), state)
    resumed.run(4, hack_from=6)
    lines = (tmp_path / "monitor.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["step"] == 9


@pytest.mark.parametrize(("action", "steps"), [("stop", 1), ("warn", 5)])
def test_a_run_that_was_stopped_is_stopped_again_until_the_action_changes(action, steps, tmp_path):
    trainer = make(tmp_path, action="stop")
    trainer.run(30, hack_from=6)
    trainer.end()
    reward, stopped_at = GuardReward(ScriptedGuard()), trainer.state.global_step
    monitor = RewardMonitor(reward, Strict(), warmup_steps=3, action=action)
    resumed = Trainer(tmp_path, reward, monitor, trainer.state)
    resumed.run(5, hack_from=6)
    assert resumed.state.global_step == stopped_at + steps


@pytest.mark.parametrize("saved", [{}, {"attributes": {}}, {"attributes": {"charts": 3}}, {"attributes": None}, 7])
def test_a_checkpoint_that_cannot_be_read_is_learned_anew(saved, tmp_path, caplog):
    reward = GuardReward(ScriptedGuard())
    state = TrainerState(stateful_callbacks={"GuardRewardMonitor": saved})
    trainer = Trainer(tmp_path, reward, RewardMonitor(reward, Strict(), warmup_steps=3), state)
    trainer.run(12, hack_from=6)
    assert "learns anew" in caplog.text
    assert trainer.monitor.alarms


def test_another_second_guard_has_a_baseline_of_its_own(tmp_path):
    trainer = make(tmp_path)
    trainer.run(5)
    trainer.end()
    reward, other = GuardReward(ScriptedGuard()), Strict()
    other.name = "other"
    monitor = RewardMonitor(reward, other, warmup_steps=3)
    Trainer(tmp_path, reward, monitor, trainer.state)
    assert "garbling" in monitor._watch.charts
    assert "second_guard_disagreement" not in monitor._watch.charts


def test_any_reward_function_can_be_watched_by_its_texts(tmp_path):
    def by_length(prompts, completions, **columns):
        return [float(len(completion)) for completion in completions]

    async def awaited(prompts, completions, **columns):
        return by_length(prompts, completions)

    for function in (by_length, awaited):
        monitor = RewardMonitor(warmup_steps=3)
        reward = monitor.watch(function)
        assert reward.__name__ == function.__name__
        assert is_asynchronous(reward) == is_asynchronous(function)
        trainer = Trainer(tmp_path, reward, monitor)
        trainer.run(6)
        for _ in range(4):
            assert trainer.step(["qj zx vvk qqp wj"] * 64) == [16.0] * 64
        assert [alarm.signal for alarm in monitor.alarms] == ["garbling"]


def test_a_watched_reward_survives_its_monitor(tmp_path, caplog, monkeypatch):
    monitor = RewardMonitor()
    reward = monitor.watch(lambda prompts, completions, **_: [2.0] * len(completions))
    trainer = Trainer(tmp_path, reward, monitor)
    monkeypatch.setattr(monitor._watch, "update", lambda step, reports: 1 / 0)
    assert trainer.step(["fine"] * 8) == trainer.step(["fine"] * 8) == [2.0] * 8
    assert caplog.text.count("division by zero") == 1


def test_a_monitor_is_used_again_for_another_run(tmp_path):
    trainer = make(tmp_path, action="stop")
    trainer.run(30, hack_from=6)
    trainer.end()
    again = Trainer(tmp_path, trainer.reward, trainer.monitor)
    again.run(30, hack_from=6)
    assert again.state.global_step == trainer.state.global_step == 9
    assert len(alarm_lines(tmp_path)) == len(trainer.monitor.alarms)  # the first run's are in monitor.1.jsonl
    assert (tmp_path / "monitor.1.jsonl").exists()
    again.end()
    resumed = Trainer(tmp_path, trainer.reward, trainer.monitor, again.state)
    resumed.run(5, hack_from=6)
    assert resumed.state.global_step == 10


def test_a_monitor_that_sees_nothing_says_so(tmp_path, caplog):
    reward = GuardReward(ScriptedGuard())
    trainer = Trainer(tmp_path, pickle.loads(pickle.dumps(reward)), RewardMonitor(reward))
    trainer.run(25, hack_from=0)
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        "the monitor has seen no rollouts: the reward is not in this trainer, or is called in another process"
    ]


def test_after_the_training_it_sees_nothing(tmp_path):
    trainer = make(tmp_path)
    trainer.run(4)
    trainer.monitor.on_train_end(trainer.args, trainer.state, trainer.control)
    trainer.step([TEXTS[0]] * 8)
    assert not any(name.startswith("monitor/") for name in trainer.lines[-1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sample": 0}, "sample should be at least 1"),
        ({"max_share": 0.0}, "max_share should be above 0"),
        ({"warmup_steps": 0}, "warmup_steps should be at least 1"),
        ({"action": "halt"}, "action should be 'warn' or 'stop'"),
        ({"deadline": float("nan")}, "deadline should be above 0"),
    ],
)
def test_arguments_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        RewardMonitor(GuardReward(ScriptedGuard()), **options)


def test_what_cannot_be_compared():
    guard = ScriptedGuard()
    with pytest.raises(ValueError, match="is the reward's own guard"):
        RewardMonitor(GuardReward(guard), guard)
    with pytest.raises(ValueError, match="is the reward's own guard"):  # another object with the same weights
        RewardMonitor(GuardReward(guard), ScriptedGuard())
    with pytest.raises(ValueError, match="stop_on has no signal 'lenght'"):
        RewardMonitor(stop_on=["lenght"])
    for function in ("org/reward-model", None, SimpleNamespace(named_parameters=dict)):
        with pytest.raises(ValueError, match="a reward function can be watched"):
            RewardMonitor().watch(function)
    with pytest.raises(ValueError, match="sees all texts through its reward"):
        RewardMonitor(GuardReward(guard)).watch(len)
    with pytest.raises(ValueError, match="second_guard needs reward"):
        RewardMonitor(None, guard)
    with pytest.raises(ValueError, match=r"monitor.watch\(function\)"):
        RewardMonitor(lambda **_: [])


def test_its_record():
    monitor = RewardMonitor(GuardReward(ScriptedGuard()), Strict(), action="stop")
    described = monitor.describe()
    assert (described["action"], described["second_guard"]["guard"]) == ("stop", "strict")
    assert json.dumps(described)
