"""Answers off the grammar, many at once: the tokens of ``generate``, and all else as if each had been decoded alone."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from guard_reward.scoring import Decision, Draft, FastRunner, GenericRunner, ScoringEngine, bulk_decoding
from guard_reward.scoring.bulk_decoding import portions
from guard_reward.scoring.dense_batch import DenseBatch
from guard_reward.scoring.draft import ROOT
from guard_reward.scoring.row import MAX_MISSES, MAX_UNGUESSED, Row

RUNNERS = [FastRunner, GenericRunner]


def answers(generations):
    return [(generation.token_ids, generation.ended) for generation in generations]


def one_by_one(model, ends, rows, grammars, limit, runner):
    """Each row in a batch of its own, and never in bulk: a pass of one row, planned anew for each token."""
    engine = ScoringEngine(model, ends, limit, runner=runner(model))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Row, "is_lost", False)
        return [engine.generate([row], [grammar])[0] for row, grammar in zip(rows, grammars, strict=True)], engine.usage


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert (one.token_ids, one.ended, one.passes) == (other.token_ids, other.ended, other.passes)
        assert one.log_probs.keys() == other.log_probs.keys()
        for name, values in one.log_probs.items():
            assert values == pytest.approx(other.log_probs[name], abs=1e-4)


class Counted:
    """A runner that counts its passes over a `KVCache` and over a `DenseBatch`, and the rows of the latter."""

    def __init__(self, runner):
        self.runner, self.name, self.planned, self.dense = runner, runner.name, 0, []

    def forward(self, packed, cache):
        if isinstance(cache, DenseBatch):
            self.dense.append(len(cache))
        else:
            self.planned += 1
        return self.runner.forward(packed, cache)

    def logits(self, output):
        return self.runner.logits(output)


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("seed", range(6))
def test_mixed_company(toy, runner, seed):
    """Some rows on the grammar, some off it and back, some ending early, some reaching the limit."""
    model = toy.model(seed, noise=(0.6, 0.8, 1.0)[seed % 3])
    rows = toy.inputs(seed, 28)
    grammars = [toy.response if i % 3 else toy.prompt for i in range(28)]
    counted = Counted(runner(model))
    engine = ScoringEngine(model, [toy.end], 60, runner=counted)
    found = engine.generate(rows, grammars)
    assert answers(found) == toy.greedy(model, rows, 60)
    expected, usage = one_by_one(model, [toy.end], rows, grammars, 60, runner)
    assert_same(found, expected)
    assert engine.usage.passes == usage.passes
    assert len(counted.dense) > 10
    assert max(counted.dense) > 1


@pytest.mark.parametrize("runner", RUNNERS)
def test_the_company_is_mixed(toy, runner):
    """The rows above are all that they are said to be."""
    found = []
    for seed in range(6):
        model = toy.model(seed, noise=(0.6, 0.8, 1.0)[seed % 3])
        grammars = [toy.response if i % 3 else toy.prompt for i in range(28)]
        found += ScoringEngine(model, [toy.end], 60, runner=runner(model)).generate(toy.inputs(seed, 28), grammars)
    assert any(one.ended and one.passes < len(one.token_ids) for one in found)  # on the grammar
    assert any(one.ended and one.passes > 20 for one in found)  # off it, and ended
    assert any(not one.ended and one.passes == 60 for one in found)  # never on it, up to the limit
    assert any(not one.ended and 20 < one.passes < 60 for one in found)  # off it and back
    assert any("refusal" in one.log_probs for one in found if one.passes > 20)


@pytest.mark.parametrize(
    ("architecture", "runner"),
    [("Qwen3", FastRunner), ("Qwen3", GenericRunner), ("Granite", GenericRunner), ("GPTNeoX", GenericRunner)],
)
def test_random_weights(toy, architecture, runner):
    """Also where the runner returns logits (Granite scales them), and where no heads share keys (GPTNeoX)."""
    model = toy.model(1, architecture, **({"logits_scaling": 3.0} if architecture == "Granite" else {}))
    torch.manual_seed(7)
    with torch.no_grad():
        model.get_output_embeddings().weight.normal_()
    rows = toy.inputs(1, 21)
    found = ScoringEngine(model, [toy.end], 50, runner=runner(model)).generate(rows, [toy.response] * 21)
    assert answers(found) == toy.greedy(model, rows, 50)


def test_any_order_and_any_company(toy):
    model = toy.model(8, noise=0.8)
    rows = toy.inputs(8, 28)
    engine = ScoringEngine(model, [toy.end], 60)
    alone = [engine.generate([row], [toy.response])[0] for row in rows]
    order = list(range(28))
    for seed in range(3):
        random.Random(seed).shuffle(order)
        for part in (order[:9], order[9:11], order[11:]):
            found = engine.generate([rows[i] for i in part], [toy.response] * len(part))
            assert_same(found, [alone[i] for i in part])


@pytest.mark.parametrize("runner", RUNNERS)
def test_in_portions(toy, runner, monkeypatch):
    """With little memory the rows are decoded a few at a time, or one by one."""
    model = toy.model(2, noise=1.0)
    rows = toy.inputs(2, 21)
    widest = []
    for spare in (10**9, 100_000, 1):
        monkeypatch.setattr(bulk_decoding, "spare_memory", lambda device, spare=spare: spare)
        counted = Counted(runner(model))
        found = ScoringEngine(model, [toy.end], 40, runner=counted).generate(rows, [toy.response] * 21)
        assert answers(found) == toy.greedy(model, rows, 40)
        widest.append(max(counted.dense))
    assert widest[0] > widest[1] > widest[2] == 1


def test_few_looks(toy, monkeypatch):
    """Passes that keep much are looked at one by one; the answers do not depend on it."""
    model = toy.model(2, noise=1.0)
    rows = toy.inputs(2, 14)
    looks, look = [], bulk_decoding._Decoding._look
    monkeypatch.setattr(
        bulk_decoding._Decoding,
        "_look",
        lambda self, outputs, tokens: looks.append(len(outputs)) or look(self, outputs, tokens),
    )
    many = ScoringEngine(model, [toy.end], 60).generate(rows, [toy.response] * 14)
    assert looks[:3] == [2, 4, 8]
    assert max(looks) == 16
    looks.clear()
    monkeypatch.setattr(bulk_decoding, "MAX_KEPT_BYTES", 0)
    assert_same(ScoringEngine(model, [toy.end], 60).generate(rows, [toy.response] * 14), many)
    assert max(looks) == 1


class Lines:
    """A grammar of which the test says where it has guesses; all of its places decide something.

    Args:
        guesses: place in the answer → the token that is guessed there.
    """

    start = 0

    def __init__(self, guesses):
        self.guesses = guesses

    def step(self, state, token):
        return state + 1

    def draft(self, state, max_tokens):
        draft, node = Draft(state), ROOT
        for place in range(state, state + max_tokens):
            if place not in self.guesses:
                break
            node = draft.add(self.guesses[place], node, place + 1)
        return draft

    def decision(self, state):
        return Decision(f"place {state}", (1, 2 + state % 5))


def endless(model, row, limit):
    """The arg-max, one plain forward a token, whether it is an end token or not."""
    tokens = list(row)
    for _ in range(limit):
        with torch.no_grad():
            tokens.append(int(model(input_ids=torch.tensor([tokens]), use_cache=False).logits[0, -1].argmax()))
    return tokens[len(row) :]


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize(
    ("right", "wrong", "planned"),
    [
        ((), (), MAX_UNGUESSED),  # nothing is ever guessed
        ((), (0, 1, 2, 3, 4, 5), MAX_MISSES),  # no draft is right: not asked again
        ((), (8, 20), MAX_UNGUESSED),  # wrong guesses later change nothing
        ((10, 11, 12), (), MAX_UNGUESSED + 1 + MAX_UNGUESSED),  # right ones lead out of bulk, and in again
        ((*range(10, 30),), (), MAX_UNGUESSED + 1),  # right ones up to the limit
        ((12, 13), (5, 6, 7, 8), MAX_UNGUESSED),  # too many wrong ones before the right ones
    ],
)
def test_where_guesses_begin_again(toy, runner, right, wrong, planned):
    """Passes over the cache are those without guesses at the beginning, and those with right guesses."""
    model = toy.model(4, noise=1.0)
    rows = [[4, 5, 6], [9, 3, 5, 3, 3, 2, 1]]
    expected = [endless(model, row, 30) for row in rows]
    grammars = [
        Lines({**{i: tokens[i] for i in right}, **{i: (tokens[i] + 1) % toy.vocabulary for i in wrong}})
        for tokens in expected
    ]
    counted = Counted(runner(model))
    found = ScoringEngine(model, (), 30, runner=counted).generate(rows, grammars)
    assert [one.token_ids for one in found] == expected
    assert counted.planned == planned
    alone, _ = one_by_one(model, (), rows, grammars, 30, runner)
    assert_same(found, alone)
    assert len(found[0].log_probs) == 30
    for row, one in zip(rows, found, strict=True):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([[*row, *one.token_ids]]), use_cache=False).logits[0].double()
        for place, place_logits in enumerate(logits[len(row) - 1 : -1]):
            naive = place_logits.log_softmax(-1)[[1, 2 + place % 5]].tolist()
            assert one.log_probs[f"place {place}"] == pytest.approx(naive, abs=1e-4)


def test_positions_stay_within_the_model(toy):
    """A row that is complete goes on beside the others until they are looked at, but never beyond its limit."""
    model = toy.model(4, noise=1.0, max_position_embeddings=100)
    engine = ScoringEngine(model, (), 40)
    positions, forward = [], engine.runner.forward
    engine.runner.forward = lambda packed, cache: (
        positions.append(int(packed.positions.max())) or forward(packed, cache)
    )
    rows = [[3] * 60, [4] * 12]
    expected = [endless(model, row, 40) for row in rows]
    grammars = [Lines(dict(enumerate(expected[0][:10]))), Lines({})]  # so the longer row is complete earlier
    assert [one.token_ids for one in engine.generate(rows, grammars)] == expected
    assert max(positions) == 98  # the last token of the longest answer is never fed


def lost(length, left=10):
    return Row(Lines({}), left, 0, np.arange(length), np.array([1]))


@pytest.mark.parametrize(
    ("lengths", "most", "expected"),
    [
        ([30, 10, 20], 10**6, [[30, 20, 10]]),  # the longest first
        ([30, 10, 20], 2 * 40 * 8, [[30, 20], [10]]),  # two rows of 30 + 10 tokens
        ([30, 10, 20], 2 * 40 * 8 - 1, [[30], [20, 10]]),
        ([30, 10, 20], 0, [[30], [20], [10]]),  # one row always fits
        ([1000, 372, 371, 58], 10**6, [[1000, 372], [371, 58]]),  # not padded to more than twice the length, and 256
    ],
)
def test_portions(lengths, most, expected):
    found = portions([lost(length) for length in lengths], bytes_per_slot=8, most_bytes=most)
    assert [[len(row.slots) for row in portion] for portion in found] == expected


@pytest.mark.parametrize("left", [(1, 50), (50, 1)])
def test_a_portion_has_room_for_the_longest_answer(left):
    rows = [lost(30, left[0]), lost(10, left[1])]
    assert len(list(portions(rows, bytes_per_slot=1, most_bytes=2 * 80))) == 1
    assert len(list(portions(rows, bytes_per_slot=1, most_bytes=2 * 80 - 1))) == 2


def test_rows_that_are_complete_get_no_more_slots(toy, monkeypatch):
    """Else a row that comes back to the grammar would have their keys and values made room for again."""
    decode, complete = bulk_decoding.decode_in_bulk, []

    def decode_and_look(rows, *arguments):
        slots = [len(row.slots) for row in rows]
        decode(rows, *arguments)
        complete.extend(len(row.slots) - before for row, before in zip(rows, slots, strict=True) if row.is_complete)

    monkeypatch.setattr("guard_reward.scoring.engine.decode_in_bulk", decode_and_look)
    ScoringEngine(toy.model(2, noise=1.0), [toy.end], 40).generate(toy.inputs(2, 21), [toy.response] * 21)
    assert complete
    assert not any(complete)
