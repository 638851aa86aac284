"""Rows copied out of the cache: what their tokens see is what they would see there."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from guard_reward.scoring.attention import attend
from guard_reward.scoring.dense_batch import DenseBatch, DenseRow
from guard_reward.scoring.kv_cache import KVCache

CPU = torch.device("cpu")
HEADS, KEY_HEADS, KEY_SIZE, VALUE_SIZE, SLOTS = 4, 2, 3, 5, 12
CONTEXTS = {"uneven": [[4, 2, 9], [0, 1, 2, 3, 4], [11]], "even": [[4, 2, 9], [0, 1, 2], [3, 2, 1]]}


def random_tensors(seed, *shapes):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in shapes]


def filled_cache():
    cache = KVCache()
    slots = torch.from_numpy(cache.allocate(SLOTS))
    for layer in (0, 1):
        cache.write(layer, slots, *random_tensors(layer, (SLOTS, KEY_HEADS, KEY_SIZE), (SLOTS, KEY_HEADS, VALUE_SIZE)))
    return cache


def batch_of(cache, contexts, left=(4, 4, 4)):
    rows = [DenseRow(np.array(slots), 7 + i, left[i]) for i, slots in enumerate(contexts)]
    return DenseBatch(cache, rows, CPU)


def naive(query, keys, values):
    """One query's attention, (heads, value size), over keys and values, (seen, key heads, size)."""
    answers = []
    for head in range(HEADS):
        weights = torch.exp(keys[:, head // (HEADS // KEY_HEADS)] @ query[head] * 0.7)
        answers.append(weights @ values[:, head // (HEADS // KEY_HEADS)] / weights.sum())
    return torch.stack(answers)


@pytest.mark.parametrize("contexts", CONTEXTS.values(), ids=CONTEXTS)
@pytest.mark.parametrize("kept", [[0, 1, 2], [2, 0], [1]])
def test_attention_over_several_passes(contexts, kept):
    """A row sees its context and its own tokens, of no other row or layer, also after rows were dropped."""
    cache = filled_cache()
    batch = batch_of(cache, contexts)
    seen = {}  # (layer, row) → keys and values
    for layer in (0, 1):
        stored = cache.read(torch.arange(SLOTS))[layer]
        for row, slots in enumerate(contexts):
            seen[layer, row] = stored.keys[slots], stored.values[slots]
    rows = [0, 1, 2]
    for number in range(4):
        if number == 2:
            batch.keep(kept)
            rows = [rows[place] for place in kept]
        packed = batch.next_pass()
        assert packed.positions.tolist() == [len(contexts[row]) + number for row in rows]
        for layer in (0, 1):
            n = len(rows)
            query, keys, values = random_tensors(
                10 * number + layer, (n, HEADS, KEY_SIZE), (n, KEY_HEADS, KEY_SIZE), (n, KEY_HEADS, VALUE_SIZE)
            )
            stored = batch.write(layer, packed.slots, keys, values)
            for groups in (packed.attention, packed.kept_attention):
                found = attend(query, stored, groups, 0.7)
                for place, row in enumerate(rows):
                    before = seen[layer, row]
                    now = torch.cat([before[0], keys[[place]]]), torch.cat([before[1], values[[place]]])
                    torch.testing.assert_close(found[place], naive(query[place], *now))
            for place, row in enumerate(rows):
                seen[layer, row] = tuple(
                    torch.cat([old, new[[place]]]) for old, new in zip(seen[layer, row], (keys, values), strict=True)
                )
        batch.advance(torch.zeros(len(rows), dtype=torch.int64))


def test_rows_of_one_length_need_no_mask():
    """Attention without one is faster."""
    assert batch_of(filled_cache(), CONTEXTS["even"]).next_pass().attention[0].bias(torch.float32) is None
    bias = batch_of(filled_cache(), CONTEXTS["uneven"]).next_pass().attention[0].bias(torch.float32, times=2)
    hidden = [[0] * 6, [0] * 6, [0] * 6]
    hidden[0][:2] = [float("-inf")] * 2
    hidden[2][:4] = [float("-inf")] * 4
    assert bias[:, 0].tolist() == [[row, row] for row in hidden]


def test_tokens_are_those_of_the_rows_then_those_given():
    batch = batch_of(filled_cache(), CONTEXTS["uneven"])
    assert batch.next_pass().tokens.tolist() == [7, 8, 9]
    batch.advance(torch.tensor([3, 2, 1]))
    assert batch.next_pass().tokens.tolist() == [3, 2, 1]
    batch.keep([2, 0])
    assert batch.next_pass().tokens.tolist() == [1, 3]
    assert len(batch) == 2


def test_a_row_stays_at_its_last_position():
    batch = batch_of(filled_cache(), CONTEXTS["uneven"], left=(1, 3, 4))
    positions = []
    for _ in range(4):
        positions.append(batch.next_pass().positions.tolist())
        batch.advance(batch.tokens)
    assert positions == [[3, 5, 1], [3, 6, 2], [3, 7, 3], [3, 7, 4]]
