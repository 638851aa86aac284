"""Inputs longer than a pass may be: the same answers, and no pass computes more than it may."""

from __future__ import annotations

import numpy as np
import pytest

from guard_reward.scoring import FastRunner, GenericRunner, ScoringEngine
from guard_reward.scoring.prefill import chunks, cut_prefill
from guard_reward.scoring.row import Row

RUNNERS = [FastRunner, GenericRunner]


class Recorded:
    """A runner that keeps the numbers of tokens of its passes."""

    def __init__(self, runner):
        self.runner, self.name, self.passes = runner, runner.name, []

    def forward(self, packed, cache):
        self.passes.append(len(packed.tokens))
        return self.runner.forward(packed, cache)

    def logits(self, output):
        return self.runner.logits(output)


def answers(generations):
    return [(generation.token_ids, generation.ended) for generation in generations]


def long_row(toy, length):
    return [*([3, 7, 11, 2, 5] * length)[: length - 1], toy.end]


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("budget", [1, 7, 64, 149])
def test_a_long_row_has_the_answer_of_generate(toy, runner, budget):
    model = toy.model(2)
    row = long_row(toy, 150)
    recorded = Recorded(runner(model))
    engine = ScoringEngine(model, [toy.end], 40, runner=recorded, max_pass_tokens=lambda: budget)
    whole = ScoringEngine(model, [toy.end], 40, runner=runner(model))
    [found], [expected] = engine.generate([row], [toy.response]), whole.generate([row], [toy.response])
    assert answers([found]) == toy.greedy(model, [row], 40)
    assert found.log_probs.keys() == expected.log_probs.keys()
    for name, values in found.log_probs.items():
        assert values == pytest.approx(expected.log_probs[name], abs=1e-4)
    before = -(-150 // budget) - 1
    guesses = len(toy.response.draft(toy.response.start, 39))
    assert recorded.passes[: before + 1] == [budget] * before + [150 - budget * before + guesses]
    assert found.passes == expected.passes + before == engine.usage.passes
    assert (engine.usage.input_tokens, engine.usage.computed_tokens) == (150, 150)


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("budget", [5, 20, 35])
def test_a_long_row_in_company(toy, runner, budget):
    """What rows share is computed by the first that has it, also if that is cut."""
    model = toy.model(3)
    long = long_row(toy, 90)
    rows = [*toy.inputs(3, 7), long[:40], [*long[:40], 9], long, [*long[:60], 4, toy.end], long[:41]]
    recorded = Recorded(runner(model))
    engine = ScoringEngine(model, [toy.end], 40, runner=recorded, max_pass_tokens=lambda: budget)
    assert answers(engine.generate(rows, [toy.response] * 12)) == toy.greedy(model, rows, 40)
    assert recorded.passes[: 90 // budget] == [budget] * (90 // budget)


@pytest.mark.parametrize("budget", [7, 64])
def test_a_long_preamble(toy, budget):
    model = toy.model(5)
    preamble = long_row(toy, 100)
    rows = [[*preamble, *row] for row in toy.inputs(5, 5) if len(row) <= budget]
    recorded = Recorded(FastRunner(model))
    engine = ScoringEngine(model, [toy.end], 40, preambles=[preamble], runner=recorded, max_pass_tokens=lambda: budget)
    first = answers(engine.generate(rows, [toy.response] * len(rows)))
    assert first == toy.greedy(model, rows, 40)
    count = -(-100 // budget)
    assert recorded.passes[:count] == [*[budget] * (count - 1), 100 - budget * (count - 1)]
    assert answers(engine.generate(rows, [toy.response] * len(rows))) == first


def test_batches_of_short_rows_are_not_cut(toy):
    """How many rows share a pass is decided where batches are planned."""
    recorded = Recorded(FastRunner(toy.model(0)))
    engine = ScoringEngine(toy.model(0), [toy.end], 40, runner=recorded, max_pass_tokens=lambda: 30)
    engine.generate([[word] * 30 for word in range(5)], [toy.response] * 5)
    assert recorded.passes[0] == 5 * (30 + len(toy.response.draft(toy.response.start, 39)))


def row(grammar, length, cached, first_slot):
    slots = np.concatenate([np.arange(cached), np.arange(first_slot, first_slot + length)])
    return Row(grammar, 40, grammar.start, slots, np.arange(length) + 100)


def test_what_is_cut_off(toy):
    rows = [row(toy.response, 4, 0, 0), row(toy.response, 9, 2, 4), row(toy.response, 3, 2, 13)]
    passes = cut_prefill(rows, 6)
    assert [[segment.new_tokens.tolist() for segment in segments] for segments in passes] == [
        [[100, 101, 102, 103], [100, 101]],
        [[102, 103, 104, 105, 106, 107]],
    ]
    assert [[segment.slots.tolist() for segment in segments] for segments in passes] == [
        [[0, 1, 2, 3], [0, 1, 4, 5]],
        [[0, 1, 4, 5, 6, 7, 8, 9, 10, 11]],
    ]
    assert [one.new_tokens.tolist() for one in rows] == [[103], [108], [100, 101, 102]]
    assert [one.generation.passes for one in rows] == [1, 2, 0]


def test_nothing_is_cut_off(toy):
    rows = [row(toy.response, 6, 0, 0), row(toy.response, 6, 0, 6)]
    assert cut_prefill(rows, 6) == []
    assert [len(one.new_tokens) for one in rows] == [6, 6]
    assert cut_prefill([], 6) == []


@pytest.mark.parametrize(("length", "sizes"), [(1, [1]), (4, [4]), (5, [4, 1]), (8, [4, 4])])
def test_chunks(length, sizes):
    tokens, slots = np.arange(length) + 50, np.arange(length + 3)
    found = chunks(tokens, slots, 4)
    assert [len(segment) for segment in found] == sizes
    assert np.concatenate([segment.new_tokens for segment in found]).tolist() == tokens.tolist()
    assert [segment.slots.tolist() for segment in found] == [
        slots[: 3 + end].tolist() for end in np.cumsum(sizes).tolist()
    ]


def test_a_plan_is_used_once(toy):
    engine = ScoringEngine(toy.model(2), [toy.end], 30)
    rows, grammars = toy.inputs(2, 3), [toy.response] * 3
    planned = engine.plan(rows, grammars)
    engine.generate(rows, grammars, planned=planned)
    with pytest.raises(ValueError, match="plan it again"):
        engine.generate(rows, grammars, planned=planned)
