"""Attention of a packed pass: the few calls over gathered keys that the pass has planned."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from guard_reward.scoring.kv_cache import KeyValues
from guard_reward.scoring.packing import AttentionGroup

__all__ = ["attend"]


def attend(queries: Tensor, stored: KeyValues, groups: Sequence[AttentionGroup], scale: float) -> Tensor:
    """Attend with every query to the keys that its group lists.

    Args:
        queries: shape (places, heads, head size).
        stored: the layer's keys and values, (slots, key-value heads, head size).
        groups: cover every place.
        scale: factor of the attention scores, usually ``head size ** -0.5``.

    Returns:
        Shape (places, heads, value head size).
    """
    (places, heads, _), (_, key_heads, size) = queries.shape, stored.values.shape
    sharing = heads // key_heads  # grouped-query attention: query heads that share a key-value head
    output = queries.new_empty(places, heads, size)
    for group in groups:
        rows, width = group.queries.shape
        # Heads that share keys become more queries of these keys: then no kernel copies keys for every head, and
        # all kernels that take a bias can be used.
        query = queries.index_select(0, group.queries.flatten()).unflatten(1, (key_heads, sharing))
        # (rows, key heads, queries · sharing, head size)
        query = query.unflatten(0, (rows, width)).transpose(1, 2).flatten(2, 3)
        answer = scaled_dot_product_attention(
            query,
            _gathered(stored.keys, group.keys),  # (rows, key heads, keys, head size)
            _gathered(stored.values, group.keys),
            attn_mask=group.bias(queries.dtype, sharing),
            scale=scale,
        )
        answer = answer.unflatten(2, (width, sharing)).transpose(1, 2)  # (rows, queries, key heads, sharing, size)
        output.index_copy_(0, group.queries.flatten(), answer.reshape(rows * width, heads, size))
    return output


def _gathered(source: Tensor, index: Tensor) -> Tensor:
    """What `source`, (places, heads, size), has at `index`, (rows, n), as (rows, heads, n, size)."""
    return source.index_select(0, index.flatten()).unflatten(0, index.shape).transpose(1, 2)
