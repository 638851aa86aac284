"""Which tokens of a batch must be computed: the beginnings that rows share are computed once.

Rows in lexicographic order are the leaves of their radix tree from left to right, and what a row shares with the tree
so far is what it shares with its neighbour on the left. So the tree needs no nodes: sort, compare neighbours, and let
each row use the KV-cache slots of the beginning that it shares. Only token ids are compared, and they come from
tokenising each text whole, so sharing never changes a row.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Ids", "Shared", "common_prefix", "share_prefixes", "unique_tokens"]

Ids = NDArray[np.int64]


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
    shared: list[Shared] = []
    for index, tokens in enumerate(rows):
        left = [(rows[index - 1], shared[-1].slots)] if shared else []
        num_cached, slots = max(
            ((common_prefix(tokens, other), slots) for other, slots in [*known, *left]),
            key=lambda candidate: candidate[0],
            default=(0, np.empty(0, dtype=np.int64)),
        )
        num_cached = min(num_cached, len(tokens) - 1)  # the last token is always computed: its logits begin the answer
        new = np.arange(first_slot, first_slot + len(tokens) - num_cached)
        shared.append(Shared(np.concatenate([slots[:num_cached], new]), num_cached))
        first_slot += len(new)
    return shared


def unique_tokens(rows: Sequence[Ids]) -> list[int]:
    """How many tokens each row, in lexicographic order, adds to those before it; at least one.

    >>> unique_tokens([np.array([7, 8]), np.array([7, 9, 9])])
    [2, 2]
    """
    return [max(len(row) - (common_prefix(row, rows[index - 1]) if index else 0), 1) for index, row in enumerate(rows)]
