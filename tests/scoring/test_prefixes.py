"""Beginnings that rows share are computed once: against a trie built from sets of beginnings."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guard_reward.scoring import prefixes
from guard_reward.scoring.prefixes import (
    begins_a_row,
    common_prefix,
    common_prefixes,
    share_prefixes,
    sorted_order,
    unique_tokens,
)

TOKENS = st.integers(0, 2)  # few, so that much is shared
ROW = st.lists(TOKENS, min_size=1, max_size=10)
ROWS = st.lists(ROW, max_size=15).map(sorted)


def ids(tokens):
    return np.array(tokens, dtype=np.int64)


def trie(rows):
    """The nodes of the rows' trie: all their beginnings."""
    return {tuple(row[:length]) for row in rows for length in range(1, len(row) + 1)}


def shared_paths(rows, cached=(), first_slot=0):
    """`share_prefixes` in plain lists: every row's slots, and how many of them are cached."""
    cached = [(ids(tokens), ids(slots)) for tokens, slots in cached]
    return [
        (row.slots.tolist(), row.num_cached) for row in share_prefixes([ids(row) for row in rows], cached, first_slot)
    ]


@pytest.mark.parametrize(
    ("first", "second", "length"),
    [
        ([], [], 0),  # nothing
        ([], [1], 0),  # nothing on one side
        ([1], [2], 0),  # different from the first token on
        ([1, 2], [1, 3], 1),  # then different
        ([1, 2], [1, 2], 2),  # equal
        ([1, 2], [1, 2, 3], 2),  # one begins the other
        ([1, 2, 3, 9], [1, 5, 3, 9], 1),  # equal again later: does not count
        ([2, 1], [1, 1], 0),  # only the first differs
    ],
)
def test_the_common_beginning(first, second, length):
    assert common_prefix(ids(first), ids(second)) == common_prefix(ids(second), ids(first)) == length


@settings(deadline=None)
@given(st.lists(TOKENS), st.lists(TOKENS))
def test_any_common_beginning(first, second):
    lengths = range(min(len(first), len(second)) + 1)
    expected = max(length for length in lengths if first[:length] == second[:length])
    assert common_prefix(ids(first), ids(second)) == expected


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], []),  # no rows
        ([[7, 8, 9]], [([0, 1, 2], 0)]),  # one row: nothing to borrow
        ([[7], [8]], [([0], 0), ([1], 0)]),  # nothing in common
        ([[7, 8], [7, 9]], [([0, 1], 0), ([0, 2], 1)]),  # the first token in common
        ([[7, 8], [7, 8, 9]], [([0, 1], 0), ([0, 1, 2], 2)]),  # one begins the other
        ([[7, 8], [7, 8]], [([0, 1], 0), ([0, 2], 1)]),  # twice the same: the last token is computed twice
        ([[7], [7], [7, 8]], [([0], 0), ([1], 0), ([1, 2], 1)]),  # and those behind borrow either
        ([[1, 2, 3], [1, 2, 4], [1, 5]], [([0, 1, 2], 0), ([0, 1, 3], 2), ([0, 4], 1)]),  # a shorter beginning again
        ([[1, 2], [1, 3, 4], [1, 3, 5]], [([0, 1], 0), ([0, 2, 3], 1), ([0, 2, 4], 2)]),  # borrowed in two pieces
    ],
)
def test_rows_borrow_from_each_other(rows, expected):
    assert shared_paths(rows) == expected


@pytest.mark.parametrize(
    ("rows", "cached", "expected"),
    [
        ([[1, 2, 9]], [([1, 2], [4, 5])], [([4, 5, 10], 2)]),  # the whole preamble
        ([[1, 2, 9]], [([1, 2, 3], [4, 5, 6])], [([4, 5, 10], 2)]),  # as far as it matches
        ([[2, 2, 9]], [([1, 2, 3], [4, 5, 6])], [([10, 11, 12], 0)]),  # not at all
        ([[1, 2]], [([1, 2], [4, 5])], [([4, 10], 1)]),  # the row is the preamble: its last token is computed
        ([[1]], [([1, 2], [4, 5])], [([10], 0)]),  # the row begins the preamble
        ([[1, 2, 9]], [([1], [4]), ([1, 2], [5, 6])], [([5, 6, 10], 2)]),  # of two the longer match
        ([[1, 2, 9]], [([1, 2], [5, 6]), ([1], [4])], [([5, 6, 10], 2)]),  # in whichever order
        ([[1, 2, 9]], [([1, 2], [6, 3])], [([6, 3, 10], 2)]),  # slots need no order
        (  # the neighbour, where it has more in common than the preamble
            [[1, 2, 8, 8], [1, 2, 8, 9]],
            [([1, 2], [4, 5])],
            [([4, 5, 10, 11], 2), ([4, 5, 10, 12], 3)],
        ),
        (  # the preamble, where it has more in common than the neighbour
            [[1, 1], [1, 2, 9]],
            [([1, 2], [4, 5])],
            [([4, 10], 1), ([4, 5, 11], 2)],
        ),
    ],
)
def test_rows_borrow_what_is_there_already(rows, cached, expected):
    assert shared_paths(rows, cached, first_slot=10) == expected


@settings(deadline=None)
@given(
    rows=ROWS, preambles=st.lists(st.lists(TOKENS, max_size=6), max_size=3), gap=st.integers(0, 3), seed=st.randoms()
)
def test_the_paths_are_a_trie(rows, preambles, gap, seed):
    """Each path spells its row; a slot stands for one beginning; each beginning is computed once.

    More than once only where a row ends in what is there already, as an equal row or the beginning of a preamble:
    its last token is always computed.
    """
    slots = list(range(sum(map(len, preambles))))
    seed.shuffle(slots)
    first_slot = len(slots) + gap
    cached = [(tokens, [slots.pop() for _ in tokens]) for tokens in preambles]
    stands_for = {slot: tuple(tokens[: place + 1]) for tokens, taken in cached for place, slot in enumerate(taken)}
    known, computed, again = trie(preambles), 0, 0
    paths = shared_paths(rows, cached, first_slot)
    assert len(paths) == len(rows)
    for row, (path, borrowed) in zip(rows, paths, strict=True):
        assert len(path) == len(row)
        assert 0 <= borrowed < len(row)
        # What it does not borrow is new: the next slots, in order.
        assert path[borrowed:] == list(range(first_slot + computed, first_slot + computed + len(row) - borrowed))
        computed += len(row) - borrowed
        again += tuple(row) in known
        for place, slot in enumerate(path):
            assert stands_for.setdefault(slot, tuple(row[: place + 1])) == tuple(row[: place + 1])
        known |= trie([row])
    assert computed == len(trie(rows) - trie(preambles)) + again


@settings(deadline=None)
@given(rows=ROWS)
def test_the_inputs_stay_as_they_are(rows):
    arrays, cached = [ids(row) for row in rows], (ids([0, 1]), ids([0, 1]))
    share_prefixes(arrays, [cached], 2)
    unique_tokens(arrays)
    assert [array.tolist() for array in arrays] == rows
    assert [array.tolist() for array in cached] == [[0, 1], [0, 1]]


@pytest.mark.parametrize(
    ("rows", "added"),
    [
        ([], []),  # no rows
        ([[1, 2, 3]], [3]),  # the first adds all
        ([[7, 8], [7, 9, 9]], [2, 2]),  # the second what it does not share
        ([[1, 2], [1, 2, 3, 4]], [2, 2]),  # one begins the other
        ([[1, 2], [1, 2], [1, 2]], [2, 1, 1]),  # the same again: at least one
        ([[1, 1], [1, 2], [3]], [2, 1, 1]),  # nothing in common
    ],
)
def test_what_each_row_adds(rows, added):
    assert unique_tokens([ids(row) for row in rows]) == added


@settings(deadline=None)
@given(rows=ROWS)
def test_the_sum_is_what_a_batch_computes(rows):
    """The trie's nodes, and the last token of a row that is there already; the same that `share_prefixes` gives."""
    added = unique_tokens([ids(row) for row in rows])
    assert sum(added) == len(trie(rows)) + len(rows) - len({tuple(row) for row in rows})
    assert added == [len(path) - borrowed for path, borrowed in shared_paths(rows)]


# --- all rows at once -----------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 300), max_size=6), max_size=12))
def test_the_order_is_that_of_lists(rows):
    assert sorted_order([ids(row) for row in rows]) == sorted(range(len(rows)), key=rows.__getitem__)


def test_the_order_of_large_ids():
    rows = [[2**20], [255], [256], [2**16], []]
    assert [rows[index] for index in sorted_order([ids(row) for row in rows])] == [[], [255], [256], [2**16], [2**20]]


@settings(deadline=None)
@given(rows=st.lists(ROW, max_size=15), other=st.lists(TOKENS, max_size=8), slab=st.integers(1, 4))
def test_common_prefixes_of_all_rows(rows, other, slab):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prefixes, "SLAB", slab)
        arrays = [ids(row) for row in rows]
        left = [0, *(common_prefix(*pair) for pair in itertools.pairwise(arrays))][: len(rows)]
        assert common_prefixes(arrays).tolist() == left
        assert common_prefixes(arrays, ids(other)).tolist() == [common_prefix(row, ids(other)) for row in arrays]


@settings(deadline=None)
@given(rows=ROWS, prefix=st.lists(TOKENS, max_size=5))
def test_whether_a_row_begins_with_a_prefix(rows, prefix):
    assert begins_a_row(ids(prefix), [ids(row) for row in rows]) == any(row[: len(prefix)] == prefix for row in rows)
