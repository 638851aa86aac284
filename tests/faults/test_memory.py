"""Memory runs out while a guard judges: at each pass of a run in turn, at many, at all. No row is lost or differs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from guard_reward import GuardReward, Outcome, Unjudged
from guard_reward.rewards.circuit_breaker import CircuitBreaker, GuardOutageError
from tests.faults.forwards import CONVERSATIONS, FailingRunner, alike, engine_of, renewed

CUDA = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
HOST = RuntimeError("[enforce fail at alloc_cpu.cpp:114] DefaultCPUAllocator: can't allocate memory: you tried to")
ERRORS = [CUDA, HOST, MemoryError()]


def fail(guard: Any, fails: Callable[[int], bool], error: Exception) -> FailingRunner:
    engine = engine_of(renewed(guard))
    engine.runner = runner = FailingRunner(engine.runner, fails, error)
    return runner


def test_at_any_pass_every_row_is_judged_as_without_it(guard: Any, expected: Any) -> None:
    runner = fail(guard, lambda number: False, CUDA)
    assert alike(guard.moderate(CONVERSATIONS), expected)
    passes = runner.passes
    assert passes >= 3
    for number in range(passes):
        runner = fail(guard, lambda pass_, number=number: pass_ == number, ERRORS[number % len(ERRORS)])
        assert alike(guard.moderate(CONVERSATIONS), expected), f"pass {number}"
        assert runner.passes > passes


@pytest.mark.parametrize("every", [2, 3, 5])
def test_at_every_nth_pass_no_verdict_differs(guard: Any, expected: Any, every: int) -> None:
    fail(guard, lambda number: number % every == 0, CUDA)
    found = guard.moderate(CONVERSATIONS)
    assert len(found) == len(expected)
    for verdict, other in zip(found, expected, strict=True):
        assert (isinstance(verdict, Unjudged) and "out of memory" in verdict.reason) or alike([verdict], [other])


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_always_each_row_has_its_outcome_and_reason(guard: Any, expected: Any, error: Exception) -> None:
    runner = fail(guard, lambda number: True, error)
    verdicts = guard.moderate(CONVERSATIONS)
    assert len(verdicts) == len(CONVERSATIONS)
    assert all(isinstance(one, Unjudged) and one.outcome is Outcome.GUARD_ERROR for one in verdicts)
    assert {one.reason.split(":")[0] for one in verdicts} == {type(error).__name__}
    runner.fails = lambda number: False  # the memory is back
    assert alike(guard.moderate(CONVERSATIONS), expected)


def test_always_pays_nothing_and_stops_the_training(gen_guard: Any) -> None:
    fail(gen_guard, lambda number: True, CUDA)
    batch = {"prompts": ["How do I use a blue gravok?"] * 3, "completions": ["Fold it.", "Mix it.", "No."]}
    assert GuardReward(gen_guard, breaker=None)(**batch) == [None] * 3
    reward = GuardReward(gen_guard, breaker=CircuitBreaker(window=3))
    with pytest.raises(GuardOutageError, match="out of memory"):
        reward(**batch)
