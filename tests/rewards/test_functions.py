"""Names of reward functions: two of a trainer's with one name would mix their metrics, columns and multipliers."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from guard_reward import AsyncGuardReward, GuardReward, combine
from guard_reward.rewards.functions import function_name, is_asynchronous
from tests.rewards.helpers import by_length
from tests.scripted_guard import ScriptedGuard


def made(name: str = "guard", kind: type = GuardReward):
    return kind(ScriptedGuard(), name=name)


def guard(prompts, completions, **columns):
    return [0.0] * len(completions)


class Trainer:
    """What a reward function can see of TRL's trainers."""

    def __init__(self, reward_funcs):
        self.reward_funcs = reward_funcs
        self.metrics: list[str] = []

    def log(self, name, value):
        self.metrics.append(name)

    def step(self):
        for reward in self.reward_funcs:
            rewards = reward(prompts=["How?"], completions=["fine"], log_metric=self.log)
            if is_asynchronous(reward):
                asyncio.run(rewards)


@pytest.mark.parametrize(
    "rewards",
    [
        [made(), made()],
        [made(), made(kind=AsyncGuardReward)],
        [made(kind=AsyncGuardReward), made(kind=AsyncGuardReward)],
        [made(), by_length, guard],  # TRL itself would log both under rewards/guard/mean
        [made(), combine([made(), by_length])],
        [combine([made()], name="a"), combine([made()], name="b")],
        [combine([combine([made()], name="a")], name="b"), made()],
        [combine([made("a")]), combine([by_length])],  # both are called combined
        [made(), partial(made())],
        [made()] * 2,
    ],
)
def test_two_functions_with_one_name_are_refused_at_the_first_step(rewards):
    trainer = Trainer(rewards)
    with pytest.raises(ValueError, match=r"two reward functions with the name '(guard|combined)'.*name=\.\.\."):
        trainer.step()
    assert trainer.metrics == []


@pytest.mark.parametrize(
    "rewards",
    [
        [made()],
        [made(), made("second"), made("third", AsyncGuardReward)],
        [made(), by_length, by_length],  # not ours
        [combine([made(), by_length]), made("second")],
        [combine([made()], name="guard")],
        [combine([made()]), combine([made("second")], name="more")],
        (made(), by_length),
    ],
)
def test_different_names_are_fine(rewards):
    trainer = Trainer(rewards)
    trainer.step()
    assert trainer.metrics


@pytest.mark.parametrize("log_metric", [None, print, lambda name, value: None])
def test_outside_a_trainer_nothing_is_checked(log_metric):
    for reward in (made(), made()):
        assert reward(prompts=["How?"], completions=["fine"], log_metric=log_metric) == [1.0]


@pytest.mark.parametrize(
    ("function", "name"), [(by_length, "by_length"), (partial(partial(guard)), "guard"), (Trainer([]), "Trainer")]
)
def test_the_name_is_that_in_trls_log(function, name):
    assert function_name(function) == name
