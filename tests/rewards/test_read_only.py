"""Settings after construction: they cannot be changed, and the error says so; the circuit breaker can."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest

from guard_reward import AsyncGuardReward, CircuitBreaker, GuardReward, Outcome, combine
from tests.rewards.helpers import by_length, score
from tests.scripted_guard import ScriptedGuard

SETTINGS = [name for name in inspect.signature(GuardReward.__init__).parameters if name not in ("self", "breaker")]


@pytest.mark.parametrize("kind", [GuardReward, AsyncGuardReward])
@pytest.mark.parametrize("name", [*SETTINGS, "__name__", "outcome_rewards"])
def test_a_setting_of_a_reward_cannot_be_changed(kind, name):
    reward = kind(ScriptedGuard())
    with pytest.raises(
        AttributeError, match=rf"{kind.__name__}.{name} cannot be changed: make another {kind.__name__}"
    ):
        setattr(reward, name, None)
    assert reward.name == reward.__name__ == "guard"


@pytest.mark.parametrize("name", ["name", "__name__", "rewards", "weights"])
def test_a_combination_cannot_be_changed(name):
    reward = combine([by_length])
    with pytest.raises(AttributeError, match=f"Combination.{name} cannot be changed"):
        setattr(reward, name, None)


def test_what_rows_get_cannot_be_changed_in_place():
    reward = GuardReward(ScriptedGuard())
    with pytest.raises(TypeError, match="does not support item assignment"):
        reward.outcome_rewards[Outcome.EMPTY] = float("nan")


def test_the_breaker_can_be_changed_and_is_a_copy():
    mine = CircuitBreaker(max_share=0.0, window=1)
    reward = GuardReward(ScriptedGuard())
    assert reward.breaker == CircuitBreaker()
    reward.breaker = mine
    assert reward.breaker == mine
    assert reward.breaker is not mine
    reward.breaker = None
    assert score(reward, *["broken"] * 100) == [None] * 100


@pytest.mark.parametrize("breaker", [0.5, "off", True, CircuitBreaker])
def test_a_breaker_of_another_kind_is_refused(breaker):
    with pytest.raises(ValueError, match="breaker should be a CircuitBreaker or None"):
        GuardReward(ScriptedGuard(), breaker=breaker)
    with pytest.raises(ValueError, match="breaker should be a CircuitBreaker or None"):
        GuardReward(ScriptedGuard()).breaker = breaker


def test_a_subclass_may_have_attributes_of_its_own():
    class Counting(GuardReward):
        def __init__(self, guard):
            super().__init__(guard)
            self.calls = 0

    reward = Counting(ScriptedGuard())
    reward.calls += 1
    assert reward.calls == 1


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda reward: pickle.loads(pickle.dumps(reward))])
def test_copies_keep_their_settings(duplicate):
    reward = duplicate(GuardReward(ScriptedGuard(), name="safety", breaker=None))
    assert (reward.name, reward.__name__, reward.breaker) == ("safety", "safety", None)
