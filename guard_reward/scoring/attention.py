"""Attention of a packed pass: the few gathered calls that its layout planned."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from guard_reward.scoring.layout import AttentionGroup
from guard_reward.scoring.store import KeyValues

__all__ = ["attend"]


def attend(queries: Tensor, stored: KeyValues, groups: Sequence[AttentionGroup], scale: float) -> Tensor:
    """Attend with every query to the keys that its group lists.

    Args:
        queries: shape (places, heads, head size).
        stored: the layer's keys and values, (slots, key-value heads, head size).
        groups: cover every place.
        scale: of the scores, usually ``head size ** -0.5``.

    Returns:
        Shape (places, heads, value head size).
    """
    places, heads, _ = queries.shape
    output = queries.new_empty(places, heads, stored.values.shape[-1])
    for group in groups:
        rows, width = group.queries.shape
        answer = scaled_dot_product_attention(
            _gathered(queries, group.queries),  # (rows, heads, queries, head size)
            _gathered(stored.keys, group.keys),  # (rows, key-value heads, keys, head size)
            _gathered(stored.values, group.keys),
            attn_mask=group.bias,
            scale=scale,
            enable_gqa=heads != stored.keys.shape[1],
        )
        output.index_copy_(0, group.queries.flatten(), answer.transpose(1, 2).reshape(rows * width, heads, -1))
    return output


def _gathered(source: Tensor, index: Tensor) -> Tensor:
    """What `source`, (places, heads, size), has at `index`, (rows, n), as (rows, heads, n, size)."""
    return source.index_select(0, index.flatten()).unflatten(0, index.shape).transpose(1, 2)
