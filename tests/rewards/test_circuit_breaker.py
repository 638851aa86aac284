"""The circuit breaker: a guard that stops answering stops the run, on all ranks at the same call."""

from __future__ import annotations

import pickle
import re

import pytest

from guard_reward import CircuitBreaker, GuardReward
from guard_reward.rewards.circuit_breaker import GuardOutageError
from tests.processes import run_two_ranks
from tests.scripted_guard import ScriptedGuard


def run(breaker: CircuitBreaker, calls: list[tuple[int, int]]) -> int | None:
    """The call at which it trips, counted from 1; None where it never does. Calls are (rows, unjudged)."""
    for number, (rows, unjudged) in enumerate(calls, start=1):
        try:
            breaker.check(rows, {"guard_error": unjudged})
        except GuardOutageError:
            return number
    return None


@pytest.mark.parametrize(
    ("max_share", "window", "calls", "trips_at"),
    [
        (0.5, 8, [(4, 0)] * 10, None),  # a healthy guard
        (0.5, 8, [(4, 4), (4, 4)], 2),  # a dead guard
        (0.5, 8, [(4, 4), (3, 3)], None),  # window not full
        (0.5, 8, [(8, 4)] * 5, None),  # exactly the share
        (0.5, 8, [(8, 5)], 1),  # one more row
        (0.5, 8, [(8, 0), (8, 0), (8, 5)], 3),  # old rows leave
        (0.5, 8, [(4, 3), (4, 0), (4, 3)], None),  # 3 of 8
        (0.5, 8, [(4, 0), (4, 3), (4, 2)], 3),  # 5 of 8
        (0.0, 1, [(1, 0), (1, 1)], 2),  # no tolerance
        (1.0, 1, [(4, 4)] * 5, None),  # full tolerance
        (0.5, 8, [(32, 10), (1, 1)], None),  # a large call stays until the window is full without it
        (0.5, 8, [(0, 0)] * 3 + [(8, 8)], 4),  # empty batches
    ],
)
def test_when_it_trips(max_share, window, calls, trips_at):
    assert run(CircuitBreaker(max_share, window), calls) == trips_at


def test_the_message_says_what_was_lost_why_and_what_to_do():
    with pytest.raises(GuardOutageError) as error:
        CircuitBreaker(0.5, 8).check(8, {"guard_error": 4, "no_verdict": 2}, reason="ConnectionError: refused")
    assert "6 of the last 8 rollouts got no verdict (4 guard_error, 2 no_verdict), more than 50%" in str(error.value)
    assert "For example: ConnectionError: refused." in str(error.value)
    assert "breaker=CircuitBreaker(max_share=...)" in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_share": 1.1}, "max_share should be from 0 to 1, found 1.1"),
        ({"max_share": -0.1}, "max_share should be from 0 to 1"),
        ({"window": 0}, "window should be at least 1 rollout, found 0"),
        ({"max_share": float("nan")}, "max_share should be a finite number, found nan"),
        ({"max_share": "0.5"}, "max_share should be a finite number, found '0.5'"),
        ({"max_share": None}, "max_share should be a finite number, found None"),
        ({"window": float("nan")}, "window should be a whole number, found nan"),  # it would never stop a run
        ({"window": float("inf")}, "window should be a whole number, found inf"),
        ({"window": "64"}, "window should be a whole number, found '64'"),
    ],
)
def test_bad_limits(arguments, message):
    with pytest.raises(ValueError, match=message):
        CircuitBreaker(**arguments)


def test_its_memory_travels_with_it():
    breaker = CircuitBreaker(0.5, 8)
    breaker.check(4, {"guard_error": 4})
    assert run(pickle.loads(pickle.dumps(breaker)), [(4, 4)]) == 1


# Inside GuardReward --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("texts", "trips"),
    [
        (["broken"] * 8, True),  # guard errors
        (["mumble"] * 8, True),  # no verdicts
        (["oversize"] * 8, True),  # beyond any window
        (["mumble"] * 4 + ["fine"] * 4, False),  # half is tolerated
        ([""] * 8, False),  # the policy's fault
        (["?!"] * 8, False),
        (["bomb"] * 8, False),  # a verdict is a verdict
        (["endless"] * 8, False),  # judged in windows
    ],
)
def test_what_counts_as_no_verdict(texts, trips):
    reward = GuardReward(ScriptedGuard(), breaker=CircuitBreaker(0.5, 8))
    if not trips:
        assert len(reward(prompts=["x"] * 8, completions=texts)) == 8
        return
    with pytest.raises(GuardOutageError, match=re.escape("8 of the last 8 rollouts")):
        reward(prompts=["x"] * 8, completions=texts)


def test_none_is_no_limit():
    reward = GuardReward(ScriptedGuard(), breaker=None)
    for _ in range(5):
        assert reward(prompts=["x"] * 64, completions=["broken"] * 64) == [None] * 64


def test_two_rewards_never_share_a_breaker():
    limits = CircuitBreaker(0.5, 8)
    one, two = (GuardReward(ScriptedGuard(), name=name, breaker=limits) for name in ("one", "two"))
    one(prompts=["x"] * 4, completions=["broken"] * 4)
    two(prompts=["x"] * 4, completions=["broken"] * 4)  # its own window is not full


def test_a_paid_outage_is_still_an_outage():
    reward = GuardReward(ScriptedGuard(), on_outcome={"guard_error": -1.0}, breaker=CircuitBreaker(0.5, 8))
    with pytest.raises(GuardOutageError):
        reward(prompts=["x"] * 8, completions=["broken"] * 8)


# All ranks together --------------------------------------------------------------------------------------------------

_TWO_RANKS = """
import datetime, sys
import torch.distributed as distributed
from guard_reward import CircuitBreaker, GuardReward
from guard_reward.rewards.circuit_breaker import GuardOutageError
from tests.scripted_guard import ScriptedGuard

rank, store, failing_ranks = int(sys.argv[1]), sys.argv[2], sys.argv[3].split(",")
distributed.init_process_group(
    "gloo", init_method=f"file://{store}", rank=rank, world_size=2, timeout=datetime.timedelta(seconds=30)
)
reward = GuardReward(ScriptedGuard(), breaker=CircuitBreaker(max_share=0.4, window=8))
state = object()  # what TRL passes as trainer_state
tripped = "never"
for call in range(1, 6):
    word = "broken" if str(rank) in failing_ranks and call >= 2 else "fine"
    try:
        reward(prompts=["x"] * 4, completions=[word] * 4, trainer_state=state)
    except GuardOutageError as error:
        tripped = f"call {call}: {error}"
        break
    distributed.barrier()  # the trainer's own collective: hangs when one rank has left
print(tripped)
# Outside a trainer nothing is known of other ranks: rank 0 alone may score by hand.
if rank == 0:
    reward.breaker = CircuitBreaker(max_share=0.4, window=8)
    print("alone", reward(prompts=["x"], completions=["fine"]))
distributed.barrier()
distributed.destroy_process_group()
"""


@pytest.mark.parametrize(
    ("failing_ranks", "expected"),
    [
        ("1", "call 2: 4 of the last 8 rollouts got no verdict (4 guard_error), more than 40%"),  # only one rank's rows
        ("0,1", "call 2: 8 of the last 8 rollouts"),
        ("none", "never"),
    ],
)
def test_both_ranks_stop_at_the_same_call(tmp_path, failing_ranks, expected):
    first, second = run_two_ranks(_TWO_RANKS, tmp_path / "store", failing_ranks, timeout=60)
    assert first.startswith(expected), first
    assert second.startswith(expected), second
    assert first.splitlines()[-1] == "alone [1.0]"
