"""A guard whose device runs out of memory: the same verdicts, in smaller passes."""

from __future__ import annotations

import pytest
import torch

from guard_reward.guards import TransformersGuard, inputs
from guard_reward.scoring.memory import MIN_PASS_TOKENS
from guard_reward.verdict import Outcome, Unjudged


class Cramped:
    """A runner whose passes may have so many tokens."""

    def __init__(self, runner, most):
        self.runner, self.name, self.most, self.passes, self.failed = runner, runner.name, most, [], 0

    def forward(self, packed, cache):
        if len(packed.tokens) > self.most:
            self.failed += 1
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.passes.append(len(packed.tokens))
        return self.runner.forward(packed, cache)

    def logits(self, output):
        return self.runner.logits(output)


@pytest.fixture
def guard(tiny_guard):
    return TransformersGuard(tiny_guard.model, tiny_guard.tokenizer, token_budget=65_536)


def exchange(answer):
    return [{"role": "user", "content": "How do I use a blue gravok?"}, {"role": "assistant", "content": answer}]


def answers(verdicts):
    """What the guard said, well formed or not."""
    assert not any(isinstance(one, Unjudged) and one.outcome is Outcome.GUARD_ERROR for one in verdicts)
    return [verdict.text for verdict in verdicts]


def test_a_long_row_is_judged_in_smaller_passes(guard):
    rows = [exchange("First fold it. " * 200)]
    expected = answers(guard.moderate(rows))
    guard.engine.runner = Cramped(guard.engine.runner, 600)
    assert len(guard.encode(rows[0])) > 600
    assert answers(guard.moderate(rows)) == expected


def test_what_one_chunk_learns_holds_for_those_behind_it(guard, monkeypatch):
    """Also for those that were prepared before it ran out of memory."""
    monkeypatch.setattr(inputs, "FIRST_CHUNK", 32)
    monkeypatch.setattr(inputs, "MAX_CHUNK", 32)
    rows = [exchange(f"First fold it {number} times.") for number in range(160)]
    expected = answers(guard.moderate(rows))
    guard.engine.reset_prefix_cache()
    guard.engine.runner = cramped = Cramped(guard.engine.runner, 200)
    monkeypatch.setattr("guard_reward.scoring.batching.GROW_AFTER", 10_000)
    guard.moderate(rows[:32])  # one chunk
    learning, guard._parts.batches.ceiling, cramped.failed = cramped.failed, None, 0
    assert answers(guard.moderate(rows)) == expected
    assert cramped.failed == learning > 0


def test_short_rows_that_ran_out_of_memory_cut_no_long_row_finer_than_is_worth_it(guard):
    guard._parts.batches.ceiling = 48
    guard.engine.runner = recorded = Cramped(guard.engine.runner, 10**9)
    guard.moderate([exchange("First fold it. " * 200)])
    assert max(recorded.passes) >= MIN_PASS_TOKENS


@pytest.mark.parametrize(
    ("budget", "ceiling", "most"),
    [
        (65_536, None, 65_536),
        (65_536, 1_000, 1_000),
        (65_536, 48, MIN_PASS_TOKENS),  # short rows ran out of memory; it says nothing about a long row's parts
        (100, None, 100),  # the user's own
        (100, 48, 100),
    ],
)
def test_how_long_a_pass_may_be(tiny_guard, budget, ceiling, most):
    guard = TransformersGuard(tiny_guard.model, tiny_guard.tokenizer, token_budget=budget)
    guard._parts.batches.ceiling = ceiling
    assert guard.engine.max_pass_tokens() == most
