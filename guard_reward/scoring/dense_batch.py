"""Keys and values of rows that compute one token each a pass: one block per layer, read in place.

In a `KVCache` every pass plans and gathers each row's slots. Rows that are decoded token by token for long are copied
out once instead. Their contexts end in the same column, shorter ones behind padding, and the tokens of a pass are the
next column::

    column     0  1  2  3  4 | 5  6  7
    row 0      .  .  a  b  c | x  x        (two tokens of padding)
    row 1      d  e  f  g  h | x  x

So a pass needs no plan and no word from the host: what a token sees is a slice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from guard_reward.scoring.kv_cache import KeyValues, KVCache
from guard_reward.scoring.packing import PackedPass
from guard_reward.scoring.prefixes import Ids

__all__ = ["ContiguousGroup", "DenseBatch", "DenseRow"]


@dataclass(frozen=True, slots=True)
class DenseRow:
    """A row that is decoded token by token.

    Attributes:
        slots: of all tokens whose keys and values are in the cache, in order, at least one.
        token: the one behind them, which the next pass computes.
        left: how many passes it takes part in at most.
    """

    slots: Ids
    token: int
    left: int


@dataclass(frozen=True, slots=True)
class ContiguousGroup:
    """Rows of one query each, which see all that a block has of their row but the padding in front.

    Attributes:
        queries: places in the pass, shape (rows, 1).
        padding: 0 where a row sees a column, else -inf, shape (rows, 1, 1, columns); None if there is no padding.
    """

    queries: Tensor
    padding: Tensor | None

    def read(self, stored: KeyValues) -> tuple[Tensor, Tensor]:
        """Keys and values, each of shape (rows, key-value heads, columns, head size), as they are stored."""
        return stored.keys, stored.values

    def bias(self, dtype: torch.dtype, times: int = 1) -> Tensor | None:
        """0 if a query sees a key, else -inf, shape (rows, 1, times, columns); None if all see all."""
        return None if self.padding is None else self.padding.to(dtype).expand(-1, -1, times, -1)


class DenseBatch:
    """Rows that compute one token each a pass. It stands in for the `KVCache` that a runner writes to.

    Args:
        cache: holds what the rows have seen.
        rows: at least one.
        device: the model's.

    Attributes:
        tokens: what the next pass computes, shape (rows,).
    """

    def __init__(self, cache: KVCache, rows: Sequence[DenseRow], device: torch.device):
        lengths = np.array([len(row.slots) for row in rows])
        self.columns, width = int(lengths.max()), int(lengths.max()) + max(row.left for row in rows)
        slots = np.stack([np.concatenate([np.repeat(r.slots[:1], self.columns - len(r.slots)), r.slots]) for r in rows])
        self._layers = cache.blocks(torch.from_numpy(slots).to(device), width)
        padding = torch.from_numpy(self.columns - lengths).to(device)[:, None]  # (rows, 1)
        hidden = torch.arange(width, device=device) < padding
        self._padding = torch.zeros(hidden.shape, device=device).masked_fill_(hidden, float("-inf"))[:, None, None]
        self._is_padded = bool((lengths < self.columns).any())
        self.tokens = torch.tensor([row.token for row in rows], device=device)
        self._positions = torch.from_numpy(lengths).to(device)
        # A row that has had all its passes goes on beside the others; its position must stay one that the model knows.
        self._last = self._positions + torch.tensor([row.left - 1 for row in rows], device=device)

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.tokens)

    def next_pass(self) -> PackedPass:
        """The pass that computes the rows' tokens, into a new column."""
        self.columns += 1
        places = torch.arange(len(self), device=self.tokens.device)
        group = ContiguousGroup(places[:, None], self._padding[..., : self.columns] if self._is_padded else None)
        return PackedPass(self.tokens, self._positions, places, [group], places, [group])

    def write(self, layer: int, slots: Tensor, keys: Tensor, values: Tensor) -> KeyValues:
        """Store what a layer computed for all rows; returns all that they see.

        Args:
            layer: the layer's number.
            slots: ignored: each row has its place, and the pass has its column.
            keys, values: shape (rows, key-value heads, head size).

        Returns:
            Keys and values of shape (rows, key-value heads, columns, head size).
        """
        block = self._layers[layer]
        block.keys[:, :, self.columns - 1] = keys
        block.values[:, :, self.columns - 1] = values
        return KeyValues(block.keys[:, :, : self.columns], block.values[:, :, : self.columns])

    def advance(self, tokens: Tensor) -> None:
        """Set what the next pass computes, shape (rows,)."""
        self.tokens = tokens
        self._positions = torch.minimum(self._positions + 1, self._last)

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all rows but these, layer by layer, so that no second copy of the whole is made."""
        kept = torch.tensor(rows, device=self.tokens.device)
        for number, block in self._layers.items():
            self._layers[number] = KeyValues(block.keys.index_select(0, kept), block.values.index_select(0, kept))
        self.tokens, self._positions, self._last, self._padding = (
            state.index_select(0, kept) for state in (self.tokens, self._positions, self._last, self._padding)
        )
