"""Keys and values of a batch's tokens, one slot per token, in no particular order.

A row's context is a list of slots. So rows share a beginning if they list the same slots, a rejected guess disappears
when its slot is freed, and nothing is ever moved, masked or padded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from guard_reward.scoring.prefixes import Ids

__all__ = ["KVCache", "KeyValues", "Storage", "joined"]


@dataclass(frozen=True, slots=True)
class KeyValues:
    """Keys and values of one layer.

    Each has the shape (slots, key-value heads, head size); in a block (rows, key-value heads, columns, head size).
    """

    keys: Tensor
    values: Tensor


class Storage(Protocol):
    """Where a runner puts what a layer computes, and what its attention reads: a `KVCache`, or something like it."""

    def write(self, layer: int, slots: Tensor, keys: Tensor, values: Tensor) -> KeyValues:
        """Store what a layer computed for the tokens in `slots`; returns all that the layer has."""
        ...


class KVCache:
    """The key-value cache of one batch."""

    def __init__(self) -> None:
        self._beginning: dict[int, KeyValues] = {}
        self._layers: dict[int, KeyValues] = {}
        self._freed: Ids = np.empty(0, dtype=np.int64)
        self._others: Ids = np.empty(0, dtype=np.int64)  # how many more rows list each slot
        self.allocated = 0  # slots ever allocated; the next new one has this number

    def begin_with(self, beginning: Mapping[int, KeyValues]) -> None:
        """Set what the first slots hold before anything is written, kept from earlier batches.

        Args:
            beginning: layer → keys and values. Their slots must be allocated like all others.
        """
        self._beginning = dict(beginning)

    def allocate(self, count: int) -> Ids:
        """Slots for `count` tokens: first freed ones, then new ones."""
        reused, self._freed = self._freed[:count], self._freed[count:]
        new = np.arange(self.allocated, self.allocated + count - len(reused))
        self.allocated += len(new)
        return np.concatenate([reused, new])

    def share(self, slots: Ids) -> None:
        """Count one more row that lists these slots; each of them must free them."""
        self._others = np.concatenate([self._others, np.zeros(self.allocated - len(self._others), dtype=np.int64)])
        self._others[slots] += 1

    def free(self, slots: Ids) -> None:
        """Free the slots of tokens that a row will not see again; those that other rows list too are kept for them."""
        if len(self._others):
            slots = np.asarray(slots, dtype=np.int64)
            shared = slots[slots < len(self._others)]
            shared = shared[self._others[shared] > 0]
            self._others[shared] -= 1
            slots = np.setdiff1d(slots, shared, assume_unique=True)
        self._freed = np.concatenate([self._freed, slots])

    def write(self, layer: int, slots: Tensor, keys: Tensor, values: Tensor) -> KeyValues:
        """Store what a layer computed for the tokens in `slots`; returns all that the layer has.

        Args:
            layer: the layer's number.
            slots: shape (tokens,).
            keys, values: shape (tokens, key-value heads, head size).
        """
        if layer not in self._layers:
            self._layers[layer] = self._beginning.pop(layer, KeyValues(keys[:0], values[:0]))
        if len(self._layers[layer].keys) < self.allocated:
            self._layers[layer] = self._grown(self._layers[layer])
        stored = self._layers[layer]
        stored.keys.index_copy_(0, slots, keys)
        stored.values.index_copy_(0, slots, values)
        return stored

    def read(self, slots: Tensor) -> dict[int, KeyValues]:
        """A copy of what all layers have in `slots`."""
        return {
            index: KeyValues(layer.keys.index_select(0, slots), layer.values.index_select(0, slots))
            for index, layer in self._layers.items()
        }

    @property
    def bytes_per_slot(self) -> int:
        """Bytes that one token takes in all layers that have been written."""
        return sum(
            tensor[0].numel() * tensor.itemsize
            for layer in self._layers.values()
            for tensor in (layer.keys, layer.values)
        )

    def blocks(self, slots: Tensor, width: int) -> dict[int, KeyValues]:
        """A copy of rows of slots, with free columns behind them.

        Args:
            slots: shape (rows, columns).
            width: columns of the block, free ones included.

        Returns:
            Layer → keys and values of shape (rows, key-value heads, width, head size).
        """
        rows, columns = slots.shape

        def block(tensor: Tensor) -> Tensor:
            _, heads, size = tensor.shape
            copy = tensor.new_empty(rows, heads, width, size)
            copy[:, :, :columns] = tensor.index_select(0, slots.flatten()).unflatten(0, slots.shape).transpose(1, 2)
            return copy

        return {index: KeyValues(block(layer.keys), block(layer.values)) for index, layer in self._layers.items()}

    def _grown(self, old: KeyValues) -> KeyValues:
        """The same with space for all allocated slots, and some more, so that not every pass copies."""

        def copied(tensor: Tensor) -> Tensor:
            more = tensor.new_empty(self.allocated + self.allocated // 16, *tensor.shape[1:])
            more[: len(tensor)] = tensor
            return more

        return KeyValues(copied(old.keys), copied(old.values))


def joined(parts: list[dict[int, KeyValues]]) -> dict[int, KeyValues]:
    """Several pieces of cache as one, in this order."""
    return {
        layer: KeyValues(
            torch.cat([part[layer].keys for part in parts]), torch.cat([part[layer].values for part in parts])
        )
        for layer in (parts[0] if parts else {})
    }
