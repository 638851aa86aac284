"""The key-value cache: what is written in a slot is there until the slot is given back, however much comes after."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from guard_reward.scoring.kv_cache import KeyValues, KVCache, joined

HEADS, KEY_SIZE, VALUE_SIZE = 2, 3, 5


def keys_values(*tokens, layer=0):
    """Keys and values that tell which token and which layer they belong to."""
    number = 1000.0 * layer + torch.tensor(tokens, dtype=torch.float32)[:, None, None]
    return number.expand(-1, HEADS, KEY_SIZE).clone(), -number.expand(-1, HEADS, VALUE_SIZE).clone()


def write(cache, slots, *tokens, layer=0):
    return cache.write(layer, torch.as_tensor(slots, dtype=torch.int64), *keys_values(*tokens, layer=layer))


def assert_holds(stored, slots, *tokens, layer=0):
    keys, values = keys_values(*tokens, layer=layer)
    assert torch.equal(stored.keys[torch.as_tensor(slots, dtype=torch.int64)], keys)
    assert torch.equal(stored.values[torch.as_tensor(slots, dtype=torch.int64)], values)


@pytest.mark.parametrize(
    ("steps", "taken"),
    [
        ([(3, [0, 1, 2])], 3),  # new ones, in order
        ([(3, [0, 1, 2]), (2, [3, 4])], 5),  # and on from there
        ([(0, [])], 0),  # none
        ([(4, [0, 1, 2, 3]), ([1, 3], None), (2, [1, 3])], 4),  # those given back first
        ([(4, [0, 1, 2, 3]), ([3, 1], None), (3, [3, 1, 4])], 5),  # then new ones
        ([(4, [0, 1, 2, 3]), ([2, 0], None), (1, [2]), (1, [0]), (1, [4])], 5),  # one by one
        ([(2, [0, 1]), ([0], None), ([1], None), (2, [0, 1])], 2),  # given back in two parts
        ([(2, [0, 1]), ([], None), (1, [2])], 3),  # nothing given back
        ([(2, [0, 1]), ([1], None), (0, []), (1, [1])], 2),  # taking none changes nothing
        ([(1, [0]), ([0], None), (1, [0]), ([0], None), (1, [0])], 1),  # again and again
    ],
)
def test_taking_and_giving_back(steps, taken):
    """A number takes so many slots; a list gives slots back."""
    cache = KVCache()
    for step, expected in steps:
        if expected is None:
            cache.free(np.array(step, dtype=np.int64))
        else:
            slots = cache.allocate(step)
            assert slots.tolist() == expected
            assert slots.dtype == np.int64
    assert cache.allocated == taken


def test_what_was_written_can_be_read():
    cache = KVCache()
    slots = cache.allocate(3)
    for layer in (0, 1):
        assert_holds(write(cache, slots, 7, 8, 9, layer=layer), slots, 7, 8, 9, layer=layer)
    read = cache.read(torch.tensor([2, 0, 2]))  # in any order, more than once
    assert sorted(read) == [0, 1]
    for layer in (0, 1):
        assert_holds(read[layer], range(3), 9, 7, 9, layer=layer)
        assert read[layer].keys.shape == (3, HEADS, KEY_SIZE)
        assert read[layer].values.shape == (3, HEADS, VALUE_SIZE)


def test_slots_in_any_order():
    cache = KVCache()
    cache.allocate(4)
    write(cache, [2, 0], 12, 10)
    stored = write(cache, [3, 1], 13, 11)
    assert_holds(stored, range(4), 10, 11, 12, 13)


def test_growth_keeps_what_was_stored():
    """One token at a time, as answers grow: no matter in which pass the room was made."""
    cache = KVCache()
    slots = []
    for token in range(200):
        slots += cache.allocate(1).tolist()
        stored = write(cache, slots[-1:], token)
        assert_holds(stored, slots, *range(token + 1))


def test_growth_is_rare():
    """The whole cache is copied when it grows, so that must not happen with every token."""
    cache = KVCache()
    write(cache, cache.allocate(1000), *range(1000))
    places = {write(cache, cache.allocate(1), token).keys.data_ptr() for token in range(50)}
    assert len(places) == 1


def test_a_layer_that_comes_later_has_room_for_all_slots():
    """The first pass walks through all layers; each gets its room when it is first written to."""
    cache = KVCache()
    write(cache, cache.allocate(2), 0, 1)
    cache.allocate(5)
    assert_holds(write(cache, [6], 6, layer=1), [6], 6, layer=1)


def test_a_slot_that_was_given_back_is_overwritten():
    cache = KVCache()
    write(cache, cache.allocate(3), 0, 1, 2)
    cache.free(np.array([1]))
    stored = write(cache, cache.allocate(1), 9)
    assert_holds(stored, range(3), 0, 9, 2)


def test_the_type_and_the_device_are_those_of_what_is_written():
    cache = KVCache()
    keys, values = keys_values(1)
    stored = cache.write(0, torch.from_numpy(cache.allocate(1)), keys.bfloat16(), values.bfloat16())
    assert stored.keys.dtype == stored.values.dtype == torch.bfloat16
    assert cache.read(torch.tensor([0]))[0].keys.dtype == torch.bfloat16


def beginning(*tokens):
    return {layer: KeyValues(*keys_values(*tokens, layer=layer)) for layer in (0, 1)}


def begun_with(kept):
    cache = KVCache()
    cache.begin_with(kept)
    return cache


def test_a_beginning_is_there_from_the_start():
    """In the first slots, which are taken like all others."""
    cache = begun_with(beginning(50, 51))
    assert cache.allocate(2).tolist() == [0, 1]
    slots = cache.allocate(3)
    assert slots.tolist() == [2, 3, 4]
    for layer in (0, 1):
        assert_holds(write(cache, slots, 7, 8, 9, layer=layer), range(5), 50, 51, 7, 8, 9, layer=layer)
    assert_holds(cache.read(torch.arange(5))[1], range(5), 50, 51, 7, 8, 9, layer=1)


def test_a_beginning_survives_the_batches_that_use_it():
    """It is kept for the next batch, so writing behind it must not change it, nor may reading give it away."""
    kept = beginning(50, 51)
    for token in (7, 8):
        cache = begun_with(kept)
        cache.allocate(2)
        slots = cache.allocate(1)
        for layer in (0, 1):
            assert_holds(write(cache, slots, token, layer=layer), range(3), 50, 51, token, layer=layer)
    assert sorted(kept) == [0, 1]
    for layer in (0, 1):
        assert_holds(kept[layer], range(2), 50, 51, layer=layer)
        assert len(kept[layer].keys) == 2


def test_what_was_read_is_a_copy():
    """What is kept for later batches does not change with this one."""
    cache = KVCache()
    write(cache, cache.allocate(2), 1, 2)
    read = cache.read(torch.arange(2))
    write(cache, [0, 1], 8, 9)
    assert_holds(read[0], range(2), 1, 2)


def test_nothing_is_read_from_an_empty_store():
    assert KVCache().read(torch.tensor([], dtype=torch.int64)) == {}


def test_blocks_are_copies_of_rows_of_slots():
    """A row of the block is what the row's slots hold, head by head; columns behind it are free."""
    cache = KVCache()
    for layer in (0, 1):
        write(cache, cache.allocate(4) if layer == 0 else range(4), 10, 11, 12, 13, layer=layer)
    blocks = cache.blocks(torch.tensor([[2, 0, 1], [3, 3, 0]]), width=5)
    assert sorted(blocks) == [0, 1]
    for layer, block in blocks.items():
        assert block.keys.shape == (2, HEADS, 5, KEY_SIZE)
        assert block.values.shape == (2, HEADS, 5, VALUE_SIZE)
        for row, tokens in enumerate(([12, 10, 11], [13, 13, 10])):
            keys, values = keys_values(*tokens, layer=layer)
            assert torch.equal(block.keys[row, :, :3].transpose(0, 1), keys)
            assert torch.equal(block.values[row, :, :3].transpose(0, 1), values)
        block.keys.fill_(0)
        assert_holds(cache.read(torch.arange(4))[layer], range(4), 10, 11, 12, 13, layer=layer)


def test_bytes_per_slot():
    cache = KVCache()
    assert cache.bytes_per_slot == 0
    slots = cache.allocate(100)
    for layer in (0, 1, 2):
        write(cache, slots, *range(100), layer=layer)
    assert cache.bytes_per_slot == 3 * HEADS * (KEY_SIZE + VALUE_SIZE) * 4


def test_pieces_join_in_order():
    whole = joined([beginning(1, 2), beginning(3), beginning(4, 5)])
    assert sorted(whole) == [0, 1]
    for layer in (0, 1):
        assert_holds(whole[layer], range(5), 1, 2, 3, 4, 5, layer=layer)


def test_no_pieces_join_to_nothing():
    assert joined([]) == {}


def test_joined_pieces_are_a_beginning():
    """One piece alone is copied as well: the batch may write into what it gets."""
    kept = beginning(1, 2)
    for parts, tokens in (([kept], (1, 2)), ([kept, beginning(3)], (1, 2, 3))):
        cache = begun_with(joined(parts))
        cache.allocate(len(tokens))
        assert_holds(write(cache, [0], 9), range(len(tokens)), 9, *tokens[1:])
    assert_holds(kept[0], range(2), 1, 2)


OPERATION = st.one_of(
    st.tuples(st.just("take"), st.integers(0, 9)),
    st.tuples(st.just("give back"), st.lists(st.integers(0, 30), max_size=5)),
)


@settings(deadline=None)
@given(st.integers(0, 3), st.lists(OPERATION, max_size=25))
def test_any_life_of_a_store(begun, operations):
    """Against a dictionary: slots in use are never given out twice, and hold what was written last."""
    cache = begun_with(beginning(*range(begun)) if begun else {})
    holds = dict(zip(cache.allocate(begun).tolist(), range(begun), strict=True))
    free, token, most = [], 100, begun
    for what, argument in operations:
        if what == "give back":
            slots = list({sorted(holds)[index % len(holds)] for index in argument} if holds else ())
            cache.free(np.array(slots, dtype=np.int64))
            free += slots
            for slot in slots:
                del holds[slot]
            continue
        slots = cache.allocate(argument).tolist()
        assert slots[: len(free)] == free[:argument]  # the oldest of those given back first
        free = free[argument:]
        assert not set(slots) & set(holds)
        holds.update(zip(slots, range(token, token + argument), strict=True))
        most = max(most, len(holds) + len(free))
        assert cache.allocated == most
        for layer in (0, 1):
            stored = write(cache, slots, *range(token, token + argument), layer=layer)
            assert_holds(stored, list(holds), *holds.values(), layer=layer)
        token += argument
