"""A guard that judges evaluations only: what it is asked, what is logged, and that it pays nothing."""

from __future__ import annotations

import asyncio
import pickle
from types import SimpleNamespace
from typing import Any

import pytest

from guard_reward import AsyncGuardReward, GuardReward
from tests.scripted_guard import ScriptedGuard


class Trainer:
    """What a trainer's ``log_metric`` tells of it."""

    def __init__(self, *, training: bool):
        self.model = SimpleNamespace(training=training)
        self.metrics: dict[str, list[float]] = {}

    def mean(self, name: str) -> float:
        return sum(self.metrics[name]) / len(self.metrics[name])

    def log_metric(self, name: str, value: float) -> None:
        self.metrics.setdefault(name, []).append(value)


class Blind(ScriptedGuard):
    """Does not know bombs."""

    name = "blind"

    def _judge(self, text: str) -> Any:
        return super()._judge(text.replace("bomb", "cake"))


COMPLETIONS = ["A cake.", "A bomb.", "I am sorry, no.", "mumble", ""]


def call(reward: Any, trainer: Trainer) -> Any:
    return reward(
        prompts=["How?"] * 5,
        completions=COMPLETIONS,
        harmful=[True, True, False, True, True],
        log_metric=trainer.log_metric,
    )


@pytest.mark.parametrize("kind", [GuardReward, AsyncGuardReward])
def test_it_is_asked_in_evaluations_and_pays_nothing(kind):
    judge, trainer = ScriptedGuard(), Trainer(training=False)
    reward = kind(Blind(), prompt_label_column="harmful", eval_judge=judge)
    rewards = call(reward, trainer)
    rewards = asyncio.run(rewards) if kind is AsyncGuardReward else rewards
    assert rewards == call(GuardReward(Blind(), prompt_label_column="harmful"), Trainer(training=False))
    assert judge.asked_about == COMPLETIONS[:4]
    assert trainer.mean("guard/safe_rate") == 1.0  # of three verdicts
    assert trainer.mean("judge/safe_rate") == pytest.approx(2 / 3)
    assert trainer.mean("judge/safe_rate/harmful") == 0.5
    assert trainer.mean("judge/outcome/no_verdict") == 0.2


def test_in_training_it_is_not_asked():
    judge, trainer = ScriptedGuard(), Trainer(training=True)
    call(GuardReward(Blind(), eval_judge=judge), trainer)
    assert judge.asked == []
    assert not [name for name in trainer.metrics if name.startswith("judge/")]


def test_outside_a_trainer_it_is_not_asked():
    judge = ScriptedGuard()
    GuardReward(Blind(), eval_judge=judge)(prompts=["How?"], completions=["A bomb."])
    assert judge.asked == []


def test_a_judge_that_fails_costs_no_reward():
    class Gone(ScriptedGuard):
        def moderate(self, conversations):
            raise ConnectionError("the judge is away")

    trainer = Trainer(training=False)
    assert call(GuardReward(Blind(), eval_judge=Gone()), trainer)[0] == 1.0
    assert trainer.mean("judge/outcome/guard_error") == 0.8


def test_the_record_names_it_and_it_pickles():
    reward = GuardReward(Blind(), eval_judge=ScriptedGuard())
    assert reward.describe()["eval_judge"] == "scripted"
    assert pickle.loads(pickle.dumps(reward)).eval_judge.name == "scripted"


def test_a_trainer_that_does_not_tell_is_warned_of_once(caplog):
    judge, metrics = ScriptedGuard(), {}
    reward = GuardReward(Blind(), eval_judge=judge)
    for _ in range(2):
        reward(prompts=["How?"], completions=["A cake."], log_metric=metrics.__setitem__)
    assert judge.asked == []
    assert caplog.text.count("eval_judge is not asked") == 1


def test_its_metrics_are_not_those_of_the_reward():
    with pytest.raises(ValueError, match="name='judge' is the name of eval_judge's metrics"):
        GuardReward(Blind(), name="judge", eval_judge=ScriptedGuard())
