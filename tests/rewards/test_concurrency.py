"""Several calls at a time, in the process of another trainer: the rewards and metrics of each are its own."""

from __future__ import annotations

import asyncio
import json
import pickle
import subprocess
import sys
import threading
import time

import pytest

from guard_reward import AsyncGuardReward, GuardReward
from guard_reward.tiny.guard import sample_conversations
from guard_reward.tiny.world import Split
from tests.rewards.concurrent_calls import call_all
from tests.rewards.helpers import REPOSITORY, Log, by_length
from tests.scripted_guard import ScriptedGuard

CALLS = 8
TIMED = ("seconds", "rollouts_per_second", "prefix_reuse")  # the last one depends on which call came first


def batches():
    """Eight groups of six rollouts of the tiny world, no two groups alike."""
    held_out = sample_conversations(3, 400, split=Split.EVAL)
    replies = [[dict(m) for m in c.messages] for c in held_out if c.messages[-1]["role"] == "assistant"]
    groups = [replies[6 * number : 6 * number + 6] for number in range(CALLS)]
    return [
        {
            "prompts": [messages[:-1] for messages in group],
            "completions": [messages[-1:] for messages in group[:-1]] + [[{"role": "assistant", "content": ""}]],
        }
        for group in groups
    ]


def comparable(calls):
    return [{**call, "metrics": {k: v for k, v in call["metrics"].items() if not k.endswith(TIMED)}} for call in calls]


def one_after_the_other(reward, groups):
    calls = []
    for group in groups:
        log = Log()
        rewards = reward(**group, log_metric=log.metric, log_extra=log.extra)
        calls.append({"rewards": rewards, "metrics": log.metrics, "columns": log.columns})
    return calls


def assert_same(found, expected):
    """Equal to the last name, and numbers to rounding: batches are composed differently."""
    for ours, theirs in zip(comparable(found), comparable(expected), strict=True):
        assert ours["rewards"] == pytest.approx(theirs["rewards"], abs=1e-5)
        assert list(ours["metrics"]) == list(theirs["metrics"])
        for name, values in theirs["metrics"].items():
            assert ours["metrics"][name] == pytest.approx(values, abs=1e-5), name
        assert list(ours["columns"]) == list(theirs["columns"])
        for name, values in theirs["columns"].items():
            numbers = all(isinstance(value, float | None) for value in values)
            assert ours["columns"][name] == (pytest.approx(values, abs=1e-5) if numbers else values), name


@pytest.mark.parametrize("kind", [GuardReward, AsyncGuardReward])
def test_pickled_to_another_process_and_called_eight_times_at_once(kind, tiny_guard, tmp_path):
    groups = batches()
    expected = one_after_the_other(GuardReward(tiny_guard, "soft"), groups)
    assert len({tuple(call["rewards"]) for call in expected}) == CALLS  # so that a mix-up would be seen
    (tmp_path / "reward.pickle").write_bytes(pickle.dumps(kind(tiny_guard, "soft")))
    (tmp_path / "batches.json").write_text(json.dumps(groups))
    command = [sys.executable, "-m", "tests.rewards.concurrent_calls"]
    files = [str(tmp_path / "reward.pickle"), str(tmp_path / "batches.json")]
    done = subprocess.run([*command, *files], cwd=REPOSITORY, capture_output=True, text=True, timeout=300, check=True)
    assert_same(json.loads(done.stdout.splitlines()[-1]), expected)


class SlowGuard(ScriptedGuard):
    """Takes a moment, and counts how many calls are inside at the same time."""

    def __init__(self, seconds=0.2):
        super().__init__()
        self.seconds, self.inside, self.most = seconds, 0, 0
        self._lock = threading.Lock()

    def moderate(self, conversations):
        with self._lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        time.sleep(self.seconds)
        with self._lock:
            self.inside -= 1
        return super().moderate(conversations)


class AsyncSlowGuard(SlowGuard):
    async def amoderate(self, conversations):
        self.inside += 1
        self.most = max(self.most, self.inside)
        await asyncio.sleep(self.seconds)
        self.inside -= 1
        return ScriptedGuard.moderate(self, conversations)

    def moderate(self, conversations):
        raise AssertionError("a guard that can be awaited was called in a thread")


@pytest.mark.parametrize("guard", [SlowGuard, AsyncSlowGuard])
def test_the_guard_is_awaited_if_it_can_be_and_called_in_threads_otherwise(guard):
    made = guard()
    reward = AsyncGuardReward(made, "hybrid", helpfulness=by_length)
    groups = [{"prompts": ["How?"] * 2, "completions": [f"fine {n}", "a bomb"]} for n in range(CALLS)]
    found = asyncio.run(call_all(reward, groups))
    expected = one_after_the_other(GuardReward(ScriptedGuard(), "hybrid", helpfulness=by_length), groups)
    assert_same(found, expected)
    assert made.most >= 2  # the calls overlapped


def test_guard_and_helpfulness_are_asked_at_the_same_time():
    events = []

    class Awaited(ScriptedGuard):
        async def amoderate(self, conversations):
            events.append("guard begins")
            await asyncio.sleep(0.05)
            events.append("guard ends")
            return self.moderate(conversations)

    async def helpfulness(prompts, completions, **_):
        events.append("helpfulness begins")
        await asyncio.sleep(0.1)
        events.append("helpfulness ends")
        return [1.0] * len(completions)

    reward = AsyncGuardReward(Awaited(), "hybrid", helpfulness=helpfulness)
    assert asyncio.run(reward(prompts=["How?"], completions=["fine"])) == [1.0]
    assert events == ["guard begins", "helpfulness begins", "guard ends", "helpfulness ends"]


def test_a_guard_that_fails_while_it_is_awaited_costs_its_rows_no_made_up_number():
    class Away(ScriptedGuard):
        async def amoderate(self, conversations):
            raise ConnectionError("the guard is away")

    log = Log()
    rewards = asyncio.run(AsyncGuardReward(Away())(prompts=["How?"] * 2, completions=["fine", ""], log_extra=log.extra))
    assert rewards == [None, 0.0]
    assert log.columns["guard_outcome"] == ["guard_error", "empty"]
    assert log.columns["guard_reason"][0] == "ConnectionError: the guard is away"


def test_in_a_trainer_rewards_finish_in_the_order_in_which_they_started():
    """Finishing exchanges counts between ranks, so all ranks must do it in the same order."""
    order = []

    def reward_named(name, seconds):
        class Awaited(ScriptedGuard):
            async def amoderate(self, conversations):
                await asyncio.sleep(seconds)
                return self.moderate(conversations)

        reward = AsyncGuardReward(Awaited(), name=name)
        conclude = reward._conclude
        reward._conclude = lambda *args, **kwargs: order.append(name) or conclude(*args, **kwargs)
        return reward

    async def both():
        arguments = {"prompts": ["How?"], "completions": ["fine"], "trainer_state": object()}
        slow, fast = reward_named("slow", 0.1), reward_named("fast", 0.0)
        return await asyncio.gather(slow(**arguments), fast(**arguments))

    assert asyncio.run(both()) == [[1.0], [1.0]]
    assert order == ["slow", "fast"]


def test_a_reward_inside_another_one_does_not_wait_for_it():
    inner = AsyncGuardReward(ScriptedGuard(), name="inner")
    outer = AsyncGuardReward(ScriptedGuard(), "hybrid", helpfulness=inner)

    async def call():
        arguments = {"prompts": ["How?"], "completions": ["fine"], "trainer_state": object()}
        return await asyncio.wait_for(outer(**arguments), timeout=20)

    assert asyncio.run(call()) == [1.0]


def test_a_reward_that_fails_early_does_not_let_later_ones_pass_earlier_ones():
    order = []

    class Slow(ScriptedGuard):
        async def amoderate(self, conversations):
            await asyncio.sleep(0.1)
            return self.moderate(conversations)

    def reward_named(name, guard, **options):
        reward = AsyncGuardReward(guard, name=name, **options)
        conclude = reward._conclude
        reward._conclude = lambda *args, **kwargs: order.append(name) or conclude(*args, **kwargs)
        return reward

    async def all_three():
        arguments = {"prompts": ["How?"], "completions": ["fine"], "trainer_state": object()}
        fails = reward_named("fails", ScriptedGuard(), prompt_label_column="missing")
        rewards = [reward_named("slow", Slow()), fails, reward_named("fast", ScriptedGuard())]
        return await asyncio.gather(*(reward(**arguments) for reward in rewards), return_exceptions=True)

    first, second, third = asyncio.run(all_three())
    assert (first, third) == ([1.0], [1.0])
    assert isinstance(second, ValueError)
    assert order == ["slow", "fast"]


def test_the_event_loop_goes_on_while_a_local_guard_judges(tiny_guard, monkeypatch):
    """Two rewards with one guard: what the first one needs of it must not wait for the second one's judging."""
    generate = tiny_guard.engine.generate

    def slow(*args, **options):
        time.sleep(0.3)  # with the model lock, as a large guard
        return generate(*args, **options)

    monkeypatch.setattr(tiny_guard.engine, "generate", slow)
    gaps = []

    async def heartbeat():
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.01)
            gaps.append(time.perf_counter() - before)

    async def both():
        beat = asyncio.create_task(heartbeat())
        rewards = [AsyncGuardReward(tiny_guard, name=name) for name in ("one", "other")]
        await asyncio.gather(*(reward(prompts=["How?"], completions=["fine"]) for reward in rewards))
        beat.cancel()

    asyncio.run(both())
    assert max(gaps) < 0.25
