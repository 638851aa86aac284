"""Logits at every token: equal to the model's own, however rows are packed, cut into passes, or grown."""

from __future__ import annotations

from random import Random

import pytest
import torch

from guard_reward.scoring import GenericRunner, GrowingRow, TokenLogitsEngine
from tests.stream_models import random_stream_model

VOCABULARY = 50


@pytest.fixture(scope="module")
def model():
    return random_stream_model(VOCABULARY)


def rows_of(seed, count=12):
    """Rows with shared beginnings, equal rows, and one that is the beginning of another."""
    random = Random(seed)
    stem = [random.randrange(VOCABULARY) for _ in range(20)]
    rows = [
        stem[: random.randrange(1, 20)] + random.choices(range(VOCABULARY), k=random.randrange(1, 30))
        for _ in range(count)
    ]
    return [*rows, rows[0], rows[1][:-1] or rows[1]]


@torch.inference_mode()
def own(model, row):
    return model(input_ids=torch.tensor([row]), use_cache=False).logits[0]


@pytest.mark.parametrize("most", [10**9, 64, 7, 1])
@pytest.mark.parametrize("runner", [None, GenericRunner])
def test_finished_rows(model, most, runner):
    engine = TokenLogitsEngine(model, runner=runner and runner(model), max_pass_tokens=lambda: most)
    rows = rows_of(0)
    for row, found in zip(rows, engine.logits(rows), strict=True):
        torch.testing.assert_close(found, own(model, row), atol=1e-5, rtol=1e-5)
    assert engine.usage.rows == len(rows)
    assert engine.usage.computed_tokens < engine.usage.input_tokens  # what rows share is computed once
    assert engine.logits([]) == []


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("most", [10**9, 5])
def test_growing_rows(model, seed, most):
    """Any chunks, any rows together in a pass, rows that end and others that begin in their slots."""
    engine, random = TokenLogitsEngine(model, max_pass_tokens=lambda: most), Random(seed)
    rows = rows_of(seed)
    growing, found = {number: GrowingRow() for number in range(len(rows))}, {number: [] for number in range(len(rows))}
    silent = {number: random.randrange(len(row)) for number, row in enumerate(rows)}  # no outputs of the first tokens
    for row in growing.values():
        engine.begin(row)
    while growing:
        numbers = random.sample(sorted(growing), random.randint(1, len(growing)))
        parts = []
        for number in numbers:
            done = len(growing[number].token_ids)
            end = done + random.randint(1, 6)
            parts.append(rows[number][done : end if done else max(end, silent[number] + 1)])
        quiet = [0 if growing[n].token_ids else silent[n] for n in numbers]
        for number, logits in zip(numbers, engine.extend([growing[n] for n in numbers], parts, quiet), strict=True):
            found[number].append(logits)
            if len(growing[number].token_ids) == len(rows[number]):
                engine.drop(growing.pop(number))
        if random.random() < 0.2:
            engine.forget()
    for number, row in enumerate(rows):
        expected = own(model, row)[silent[number] :]
        torch.testing.assert_close(torch.cat(found[number]), expected, atol=1e-5, rtol=1e-5)
    assert (engine.growing_rows, engine.growing_tokens) == (0, 0)


def test_a_failed_pass_changes_nothing(model):
    engine = TokenLogitsEngine(model)
    row = GrowingRow()
    engine.begin(row)
    engine.extend([row], [[1, 2, 3]])
    forward, engine.runner.forward = engine.runner.forward, lambda *_: (_ for _ in ()).throw(MemoryError("full"))
    with pytest.raises(MemoryError):
        engine.extend([row], [[4, 5]])
    engine.runner.forward = forward
    assert (row.token_ids, engine.growing_tokens) == ([1, 2, 3], 3)
    torch.testing.assert_close(engine.extend([row], [[4, 5]])[0], own(model, [1, 2, 3, 4, 5])[3:], atol=1e-5, rtol=1e-5)


def test_samples_of_one_prompt_share_it(model):
    """It is computed and kept once, until the last of them is dropped."""
    engine, prompt = TokenLogitsEngine(model), list(range(30))
    samples = [GrowingRow() for _ in range(4)]
    for row in samples:
        engine.begin(row)
    ends = [[7, 8], [7, 9, 1], [3], [7, 8]]
    found = engine.extend(samples, [prompt + end for end in ends], [len(prompt)] * 4)
    for end, logits in zip(ends, found, strict=True):
        torch.testing.assert_close(logits, own(model, prompt + end)[30:], atol=1e-5, rtol=1e-5)
    assert engine.growing_tokens == 30 + sum(map(len, ends))
    engine.truncate(samples[3], 10)  # into what is shared
    engine.drop(samples[0])
    engine.drop(samples[2])
    engine.extend([samples[3]], [[5] * 40])  # in the slots that were freed
    torch.testing.assert_close(engine.extend([samples[1]], [[2]])[0], own(model, prompt + ends[1] + [2])[-1:])
    torch.testing.assert_close(engine.extend([samples[3]], [[2]])[0], own(model, prompt[:10] + [5] * 40 + [2])[-1:])
    engine.drop(samples[1])
    engine.drop(samples[3])
    assert engine.growing_tokens == 0
