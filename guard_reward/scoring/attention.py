"""Attention of a packed pass: the few calls that the pass has planned, each over the keys of some rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from guard_reward.scoring.kv_cache import KeyValues

__all__ = ["QueryGroup", "attend"]


class QueryGroup(Protocol):
    """Rows whose attention is computed in one call."""

    @property
    def queries(self) -> Tensor:
        """Places in the pass, shape (rows, queries)."""
        ...

    def read(self, stored: KeyValues) -> tuple[Tensor, Tensor]:
        """The rows' keys and values, each of shape (rows, key-value heads, keys, head size)."""
        ...

    def bias(self, dtype: torch.dtype, times: int = 1) -> Tensor | None:
        """0 if a query sees a key, else -inf, each query `times` times in a row; None if all see all.

        Returns:
            Shape (rows or 1, 1, queries * times, keys).
        """
        ...


def attend(queries: Tensor, stored: KeyValues, groups: Sequence[QueryGroup], scale: float) -> Tensor:
    """Attend with every query to the keys of its group.

    Args:
        queries: shape (places, heads, head size).
        stored: the layer's keys and values, as the groups read them.
        groups: cover every place.
        scale: factor of the attention scores, usually ``head size ** -0.5``.

    Returns:
        Shape (places, heads, value head size).
    """
    (places, heads, _), key_heads, size = queries.shape, stored.values.shape[1], stored.values.shape[-1]
    sharing = heads // key_heads  # grouped-query attention: query heads that share a key-value head
    output = queries.new_empty(places, heads, size)
    for group in groups:
        rows, width = group.queries.shape
        # Heads that share keys become more queries of these keys: then no kernel copies keys for every head, and
        # all kernels that take a bias can be used.
        query = queries.index_select(0, group.queries.flatten()).unflatten(1, (key_heads, sharing))
        # (rows, key heads, queries · sharing, head size)
        query = query.unflatten(0, (rows, width)).transpose(1, 2).flatten(2, 3)
        keys, values = group.read(stored)  # (rows, key heads, keys, head size) each
        bias = group.bias(queries.dtype, sharing)
        answer = scaled_dot_product_attention(query, keys, values, attn_mask=bias, scale=scale)
        answer = answer.unflatten(2, (width, sharing)).transpose(1, 2)  # (rows, queries, key heads, sharing, size)
        output.index_copy_(0, group.queries.flatten(), answer.reshape(rows * width, heads, size))
    return output
