"""Which tokens of a batch must be computed: the beginnings that rows share are computed once.

Rows in lexicographic order are the leaves of their radix tree from left to right, and what a row shares with the tree
so far is what it shares with its neighbour on the left. So the tree needs no nodes: sort, compare neighbours, and let
each row use the KV-cache slots of the beginning that it shares. Only token ids are compared, and they come from
tokenising each text whole, so sharing never changes a row.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Ids",
    "Shared",
    "TokenRows",
    "as_ids",
    "begins_a_row",
    "common_prefix",
    "common_prefixes",
    "share_prefixes",
    "sorted_order",
    "unique_tokens",
]

Ids = NDArray[np.int64]
TokenRows = Sequence[Sequence[int] | Ids]
"""Token ids of several rows."""
SLAB = 64  # rows that are compared in one array, padded to the longest of them


@dataclass(frozen=True, slots=True)
class Shared:
    """One row after sharing.

    Attributes:
        slots: the slot of each of its tokens, in order, shape (tokens,).
        num_cached: how many of them, from the front, are cached or computed by another row; never all.
    """

    slots: Ids
    num_cached: int


def common_prefix(first: Ids, second: Ids) -> int:
    """How many tokens two rows have in common at their beginning.

    >>> common_prefix(np.array([1, 2, 3]), np.array([1, 2, 4, 5]))
    2
    """
    length = min(len(first), len(second))
    differs = first[:length] != second[:length]
    return int(differs.argmax()) if differs.any() else length


def as_ids(row: Sequence[int] | Ids) -> Ids:
    """Token ids as an array; one that is an array already is not copied."""
    return np.asarray(row, dtype=np.int64)


def sorted_order(rows: Sequence[Ids]) -> list[int]:
    """The numbers of the rows in lexicographic order; equal rows stay in order.

    >>> sorted_order([np.array([7, 9]), np.array([7, 8, 1]), np.array([7, 8])])
    [2, 1, 0]
    """
    # Bytes in big-endian order compare as the numbers do, which are never negative.
    keys = [row.astype(">i8").tobytes() for row in rows]
    return sorted(range(len(rows)), key=keys.__getitem__)


def common_prefixes(rows: Sequence[Ids], other: Ids | None = None) -> Ids:
    """How many tokens each row has in common with `other` at their beginnings, shape (rows,).

    Args:
        rows: token ids.
        other: one sequence for all rows; by default each row's left neighbour, of which the first row has none.

    >>> common_prefixes([np.array([7, 8]), np.array([7, 9, 9])]).tolist()
    [0, 1]
    """
    if other is not None:
        parts = [_equal_beginnings(_padded([other, *rows[begin : begin + SLAB]]), first=True) for begin in _slabs(rows)]
    else:
        parts = [_equal_beginnings(_padded(rows[max(begin - 1, 0) : begin + SLAB])) for begin in _slabs(rows)]
        parts[:1] = [np.concatenate([[0], part]) for part in parts[:1]]
    common = np.concatenate([np.empty(0, dtype=np.int64), *parts])
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    if other is not None:
        return np.minimum(common, np.minimum(lengths, len(other)))
    return np.minimum(common, np.minimum(lengths, np.concatenate([[0], lengths])[: len(rows)]))


def _slabs(rows: Sequence[Ids]) -> Iterator[int]:
    yield from range(0, len(rows), SLAB)


def _padded(rows: Sequence[Ids]) -> Ids:
    """Rows as one array, padded behind with -1, which is no token; one column more than the longest has."""
    lengths = np.array([len(row) for row in rows])
    padded = np.full((len(rows), int(lengths.max()) + 1), -1, dtype=np.int64)
    padded[np.arange(padded.shape[1]) < lengths[:, None]] = np.concatenate(rows)
    return padded


def _equal_beginnings(padded: Ids, *, first: bool = False) -> Ids:
    """For each row but the first, how many columns from the left on it has in common with the row before it.

    Args:
        padded: shape (rows, columns).
        first: compare with the first row instead.
    """
    differs = padded[1:] != (padded[:1] if first else padded[:-1])
    return np.where(differs.any(axis=1), differs.argmax(axis=1), padded.shape[1])


def begins_a_row(prefix: Ids, rows: Sequence[Ids]) -> bool:
    """Whether one of the rows, which are in lexicographic order, begins with `prefix`."""
    # Rows that do come directly behind all that are smaller.
    index = bisect_left(rows, prefix.tolist(), key=lambda row: row.tolist())
    return index < len(rows) and common_prefix(rows[index], prefix) == len(prefix)


def share_prefixes(rows: Sequence[Ids], cached: Iterable[tuple[Ids, Ids]], first_slot: int) -> list[Shared]:
    """Give every row its slots: those of the beginning it shares, then new ones from `first_slot` on.

    Args:
        rows: token ids, in lexicographic order, none empty.
        cached: token ids and slots of sequences that are in the cache already.
        first_slot: the first free slot.

    >>> [(row.slots.tolist(), row.num_cached) for row in share_prefixes([np.array([7, 8]), np.array([7, 9])], [], 0)]
    [([0, 1], 0), ([0, 2], 1)]
    """
    known = list(cached)
    if not rows:
        return []
    left_common = common_prefixes(rows)
    # What each row has in common with each cached sequence, and with its left neighbour, shape (candidates, rows).
    common = np.zeros((len(known) + 1, len(rows)), dtype=np.int64)
    common[-1] = left_common
    for number, (tokens, _) in enumerate(known):
        few = np.flatnonzero(left_common < len(tokens)).tolist()  # the others have it all from their neighbour
        common[number, few] = common_prefixes([rows[index] for index in few], tokens)
    best = common.argmax(axis=0).tolist()
    # The last token is always computed: its logits begin the answer.
    counts = np.minimum(common.max(axis=0), np.array([len(row) for row in rows]) - 1).tolist()
    shared: list[Shared] = []
    left = np.empty(0, dtype=np.int64)
    for tokens, candidate, num_cached in zip(rows, best, counts, strict=True):
        slots = known[candidate][1] if candidate < len(known) else left
        end = first_slot + len(tokens) - num_cached
        left = np.concatenate([slots[:num_cached], np.arange(first_slot, end)])
        shared.append(Shared(left, num_cached))
        first_slot = end
    return shared


def unique_tokens(rows: Sequence[Ids]) -> list[int]:
    """How many tokens each row, in lexicographic order, adds to those before it; at least one.

    >>> unique_tokens([np.array([7, 8]), np.array([7, 9, 9])])
    [2, 2]
    """
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    added: list[int] = np.maximum(lengths - common_prefixes(rows), 1).tolist()
    return added
