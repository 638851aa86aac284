"""Rows of token ids for the batching tests, and what a batch of them costs."""

from __future__ import annotations

from hypothesis import strategies as st

ROWS = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=12), max_size=40)  # few tokens: much is shared


def cost(rows):
    """Tokens that differ: the nodes of the rows' trie, and the last token again of a row that is there twice."""
    rows = [tuple(row) for row in rows]
    nodes = {row[:length] for row in rows for length in range(1, len(row) + 1)}
    return len(nodes) + len(rows) - len(set(rows))


def strangers(count, length=10):
    """Rows that share nothing."""
    return [[index] * length for index in range(count)]


def padded_cost(rows):
    return len(rows) * max(map(len, rows))
