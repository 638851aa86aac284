"""Observers see what a reward has judged, and can neither change it nor travel with it."""

from __future__ import annotations

import asyncio
import copy
import pickle
from types import SimpleNamespace

import pytest

from guard_reward import AsyncGuardReward, GuardReward, Severity
from tests.rewards.helpers import score
from tests.scripted_guard import ScriptedGuard

KINDS = [GuardReward, AsyncGuardReward]


def observed(reward, *completions, **arguments):
    found = score(reward, *completions, **arguments)
    return asyncio.run(found) if asyncio.iscoroutine(found) else found


@pytest.mark.parametrize("kind", KINDS)
def test_an_observer_sees_every_batch(kind):
    reward, seen = kind(ScriptedGuard()), []
    reward.add_observer(seen.append)
    reward.add_observer(seen.append)  # bound methods of one list are equal: shown once
    state = SimpleNamespace(global_step=3)
    observed(reward, "fine", "a bomb", "...", completion_ids=[[1], [1, 2], [1]], trainer_state=state)
    (batch,) = seen
    assert [row.reward for row in batch.rows] == [1.0, 0.0, 0.0]
    assert [row.verdicts.answer.severity for row in batch.rows[:2]] == [Severity.SAFE, Severity.UNSAFE]
    assert batch.tokens == (1, 2, 1)
    assert batch.trainer_state is state
    assert [message["content"] for message in batch.asked[1]] == ["How?", "a bomb"]
    assert batch.asked[2] is None  # empty: nobody was asked
    reward.remove_observer(seen.append)
    observed(reward, "fine")
    assert len(seen) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_an_observer_that_fails_costs_nothing_and_is_named_once(kind, caplog):
    def broken(batch):
        raise RuntimeError("no disk")

    reward, seen = kind(ScriptedGuard()), []
    reward.add_observer(broken)
    reward.add_observer(seen.append)
    assert observed(reward, "fine", "a bomb") == [1.0, 0.0]
    assert observed(reward, "fine") == [1.0]
    assert len(seen) == 2
    (record,) = caplog.records
    assert "broken" in record.getMessage()
    assert "no disk" in record.getMessage()


@pytest.mark.parametrize("copied", [lambda reward: pickle.loads(pickle.dumps(reward)), copy.deepcopy, copy.copy])
def test_observers_stay_where_they_are(copied):
    reward, seen = GuardReward(ScriptedGuard()), []
    reward.add_observer(lambda batch: seen.append(batch))  # a lambda does not pickle
    other = copied(reward)
    assert score(other, "fine") == [1.0]
    if copied is copy.copy:  # a shallow copy shares everything that is inside
        return
    assert seen == []


def test_what_cannot_be_called_is_refused():
    with pytest.raises(ValueError, match="is not callable"):
        GuardReward(ScriptedGuard()).add_observer("print")
