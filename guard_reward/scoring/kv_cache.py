"""Keys and values of a batch's tokens, one slot a token, in no particular order.

A row's context is a list of slots. So rows share beginnings by listing the same slots, the tokens of a rejected draft
are forgotten by listing them nowhere, and nothing is ever moved, masked or padded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from guard_reward.scoring.prefixes import Ids

__all__ = ["KeyValueStore", "KeyValues", "joined"]


@dataclass(frozen=True, slots=True)
class KeyValues:
    """Keys and values of one layer, each of shape (slots, key-value heads, head size)."""

    keys: Tensor
    values: Tensor


class KeyValueStore:
    """The key-value cache of one batch.

    Args:
        beginning: layer → keys and values that the first slots hold from the start: what is kept of earlier batches.
            They are to be taken like all others.
    """

    def __init__(self, beginning: Mapping[int, KeyValues] | None = None):
        self._beginning = dict(beginning or {})
        self._layers: dict[int, KeyValues] = {}
        self._returned: Ids = np.empty(0, dtype=np.int64)
        self.taken = 0  # slots ever taken; the next new one has this number

    def take(self, count: int) -> Ids:
        """Slots for `count` tokens: first those given back, then new ones."""
        reused, self._returned = self._returned[:count], self._returned[count:]
        new = np.arange(self.taken, self.taken + count - len(reused))
        self.taken += len(new)
        return np.concatenate([reused, new])

    def give_back(self, slots: Ids) -> None:
        """Slots whose tokens nobody will look at again."""
        self._returned = np.concatenate([self._returned, slots])

    def write(self, layer: int, slots: Tensor, keys: Tensor, values: Tensor) -> KeyValues:
        """Store what a layer computed for the tokens in `slots`; returns all that the layer has.

        Args:
            layer: the layer's number.
            slots: shape (tokens,).
            keys, values: shape (tokens, key-value heads, head size).
        """
        if layer not in self._layers:
            self._layers[layer] = self._beginning.pop(layer, KeyValues(keys[:0], values[:0]))
        if len(self._layers[layer].keys) < self.taken:
            self._layers[layer] = self._with_room(self._layers[layer])
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

    def _with_room(self, old: KeyValues) -> KeyValues:
        """The same with room for all slots taken, and some more, so that copying does not happen in every pass."""

        def copied(tensor: Tensor) -> Tensor:
            more = tensor.new_empty(self.taken + self.taken // 16, *tensor.shape[1:])
            more[: len(tensor)] = tensor
            return more

        return KeyValues(copied(old.keys), copied(old.values))


def joined(parts: list[dict[int, KeyValues]]) -> dict[int, KeyValues]:
    """Several pieces of cache, one behind the other."""
    return {
        layer: KeyValues(
            torch.cat([part[layer].keys for part in parts]), torch.cat([part[layer].values for part in parts])
        )
        for layer in (parts[0] if parts else {})
    }
