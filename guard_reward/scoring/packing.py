"""One forward pass: the tokens of all rows packed into one sequence, and who sees whom.

No token is padded. Attention is planned here, once per pass, as a few groups of rows whose queries and keys have the
same shape; every layer then only gathers, attends and scatters. A row's part of a pass, and what its tokens see::

    slots     | already cached … | new tokens  | draft: a tree of guesses
    keys        c c c c c c c c    n0  n1  n2    g1  g2 (behind g1)  g3 (a second branch behind n2)
    queries                        n0  n1  n2    g1  g2              g3
    g2 sees     c c c c c c c c    n0  n1  n2    g1  g2

So a guess sees the row's context and the guesses that lead to it, but not the other branches.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from guard_reward.scoring.attention import QueryGroup
from guard_reward.scoring.draft import Draft
from guard_reward.scoring.kv_cache import KeyValues
from guard_reward.scoring.prefixes import Ids

__all__ = ["AttentionGroup", "PackedPass", "Segment", "pack", "rounding_on"]

MAX_GATHERED_KEYS = 65_536  # per call, shared keys once per row: 0.27 GB for Qwen3 in bfloat16
QUERY_BLOCK = 256  # queries of one row that share a list of keys; smaller blocks skip more of the causal half


@dataclass(frozen=True, slots=True)
class Segment:
    """One row's part of a pass.

    Attributes:
        new_tokens: known tokens whose keys and values are not cached yet, at least one.
        slots: slots of all known tokens, the new ones last.
        draft: guesses about what follows.
        draft_slots: their slots, shape (guesses,).
    """

    new_tokens: Sequence[int]
    slots: Ids
    draft: Draft
    draft_slots: Ids

    def __len__(self) -> int:
        """Tokens that the pass computes: new tokens and guesses."""
        return len(self.new_tokens) + len(self.draft)

    @property
    def num_cached(self) -> int:
        """Known tokens whose keys and values are cached."""
        return len(self.slots) - len(self.new_tokens)

    @property
    def key_slots(self) -> Ids:
        """Slots of all that the row may see, shape (known tokens + guesses,)."""
        return np.concatenate([self.slots, self.draft_slots])

    @property
    def positions(self) -> Ids:
        """Positions of the computed tokens, shape (len(self),)."""
        guesses = len(self.slots) - 1 + np.array(self.draft.depths[1:], dtype=np.int64)
        return np.concatenate([np.arange(self.num_cached, len(self.slots)), guesses])

    @property
    def logits_to_keep(self) -> int:
        """How many logits decide a token of the answer: those of the last known token, and of every guess."""
        return 1 + len(self.draft)

    def visible(self, begin: int, end: int) -> NDArray[np.bool_]:
        """Which of the computed tokens `begin` to `end` see each other, shape (n, n).

        All of them see everything before `begin`.
        """
        visible = np.tri(end - begin, dtype=bool)
        first_guess = len(self.new_tokens) - begin
        for guess, parent in enumerate(self.draft.parents[1 : 1 + max(end - len(self.new_tokens), 0)]):
            row = visible[first_guess + guess]
            # Of the guesses it sees what its parent sees, and itself. The root is not a guess.
            row[first_guess:] = visible[first_guess + parent - 1, first_guess:] if parent else False
            row[first_guess + guess] = True
        return visible


@dataclass(frozen=True, slots=True)
class AttentionGroup:
    """Rows whose attention is computed in one call.

    Attributes:
        queries: places in the packed pass, shape (rows, queries).
        keys: slots, shape (rows, keys); the last of them are the queries' own.
        hidden: True if a query does not see one of the last keys, shape (rows or 1, queries, queries).
        padding: how many keys in front are padding, shape (rows,); None if there is none.
    """

    queries: Tensor
    keys: Tensor
    hidden: Tensor
    padding: Tensor | None

    def read(self, stored: KeyValues) -> tuple[Tensor, Tensor]:
        """Keys and values, gathered from their slots, each of shape (rows, key-value heads, keys, head size)."""
        return _gathered(stored.keys, self.keys), _gathered(stored.values, self.keys)

    def bias(self, dtype: torch.dtype, times: int = 1) -> Tensor:
        """0 if a query sees a key, else -inf, each query `times` times in a row.

        Made for each call: kept for all groups of a pass, it could take more memory than the keys.

        Returns:
            Shape (rows or 1, 1, queries * times, keys).
        """
        (width, depth), device = (self.queries.shape[1], self.keys.shape[1]), self.keys.device
        bias = torch.zeros(len(self.hidden), 1, width, depth, dtype=dtype, device=device)
        bias[..., depth - width :].masked_fill_(self.hidden[:, None], float("-inf"))
        if self.padding is not None:
            in_front = torch.arange(depth, device=device) < self.padding[:, None]  # (rows, keys)
            bias.masked_fill_(in_front[:, None, None], float("-inf"))
        return bias.repeat_interleave(times, dim=2) if times > 1 else bias


@dataclass(frozen=True, slots=True)
class PackedPass:
    """A pass over T tokens. The logits of V of them are kept: each of these decides a token of an answer.

    Attributes:
        tokens, positions, slots: shape (T,).
        attention: covers every token once.
        logits_to_keep: places whose logits are kept, row after row, shape (V,).
        kept_attention: covers these places only; `queries` count in V, not in T.
    """

    tokens: Tensor
    positions: Tensor
    slots: Tensor
    attention: Sequence[QueryGroup]
    logits_to_keep: Tensor
    kept_attention: Sequence[QueryGroup]


def rounding_on(device: torch.device, widest: int) -> tuple[int, int]:
    """The `rounding` and `key_rounding` of `pack` for a device and the most tokens that one row computes in the pass.

    Every call has a fixed cost, and padding costs time too. On a CPU, padding costs more if rows compute many tokens;
    calls cost more if they compute one token each (answers outside the grammar).
    """
    if device.type == "cpu":
        return (1, 1) if widest > 32 else (1, 64)
    return (32, 32) if widest > 32 else (8, 64)


def pack(
    segments: Sequence[Segment], device: torch.device, rounding: int = 1, key_rounding: int | None = None
) -> PackedPass:
    """Plan the pass over `segments`.

    Args:
        segments: the rows' parts, in any order.
        device: the model's.
        rounding: numbers of queries are padded up to multiples of this, so that more rows share a call.
        key_rounding: the same for keys; by default `rounding`.
    """
    starts = np.cumsum([0, *map(len, segments)])
    kept_starts = np.cumsum([0, *(s.logits_to_keep for s in segments)])
    blocks = [
        block
        for segment, start, kept_start in zip(segments, starts, kept_starts, strict=False)
        for block in _blocks(segment, int(start), int(kept_start))
    ]
    kept_blocks = [block.at_kept_places() for block in blocks if block.is_last]
    key_rounding = key_rounding or rounding

    def tensor(parts: list[Ids]) -> Tensor:
        return torch.from_numpy(np.concatenate(parts)).to(device)

    return PackedPass(
        tokens=tensor([np.array([*s.new_tokens, *s.draft.tokens]) for s in segments]),
        positions=tensor([s.positions for s in segments]),
        slots=tensor([s.key_slots[s.num_cached :] for s in segments]),
        attention=list(_groups(blocks, device, rounding, key_rounding)),
        logits_to_keep=tensor(
            [np.arange(end - s.logits_to_keep, end) for s, end in zip(segments, starts[1:], strict=True)]
        ),
        kept_attention=list(_groups(kept_blocks, device, rounding, key_rounding)),
    )


@dataclass(frozen=True, slots=True)
class _Block:
    """Some consecutive queries of one row, and the keys that any of them sees.

    Attributes:
        segment: the row.
        begin, end: which of the row's computed tokens are the queries.
        queries: the places of their outputs.
        kept_start: where the row's kept places begin among all kept ones.
    """

    segment: Segment
    begin: int
    end: int
    queries: Ids
    kept_start: int

    @property
    def is_last(self) -> bool:
        return self.end == len(self.segment)

    @property
    def keys(self) -> Ids:
        return self.segment.key_slots[: self.segment.num_cached + self.end]

    @property
    def tree_key(self) -> tuple[int, ...]:
        """Blocks with equal numbers of queries and keys have the same mask if this is equal: all else is causal."""
        return self.segment.draft.tree_key if self.is_last and len(self.segment.draft) else ()

    def at_kept_places(self) -> _Block:
        """The same for the kept places only."""
        count = self.segment.logits_to_keep
        places = np.arange(self.kept_start, self.kept_start + count)
        return _Block(self.segment, self.end - count, self.end, places, self.kept_start)

    def mask(self, width: int) -> NDArray[np.bool_]:
        """Which of the last `width` keys each query sees, padded in front to shape (width, width).

        Padding queries are copies of the first query: computed several times, with the same result. The keys before
        the block's own are seen by all.
        """
        visible = self.segment.visible(self.begin, self.end)
        padding = width - len(visible)
        mask = np.ones((width, width), dtype=bool)
        mask[padding:, padding:] = visible
        mask[:padding, padding:] = visible[0]
        return mask


def _blocks(segment: Segment, start: int, kept_start: int) -> Iterator[_Block]:
    count = -(-len(segment) // QUERY_BLOCK)
    # All kept places stay in the last block.
    ends = [*sorted({(len(segment.new_tokens) - 1) * i // count for i in range(1, count)} - {0}), len(segment)]
    for begin, end in zip([0, *ends], ends, strict=False):
        yield _Block(segment, begin, end, np.arange(start + begin, start + end), kept_start)


def _groups(
    blocks: Sequence[_Block], device: torch.device, rounding: int, key_rounding: int
) -> Iterator[AttentionGroup]:
    if rounding == key_rounding == 1:
        yield from _exact_groups(blocks, device)
    else:
        yield from _padded_groups(blocks, device, rounding, key_rounding)


def _exact_groups(blocks: Sequence[_Block], device: torch.device) -> Iterator[AttentionGroup]:
    """Blocks with the same shape and the same mask, without padding: the first block's mask is that of all."""
    alike: dict[tuple[int, int, tuple[int, ...]], list[_Block]] = defaultdict(list)
    for block in blocks:
        alike[len(block.queries), len(block.keys), block.tree_key].append(block)
    for (width, depth, _), same in alike.items():
        for members in _calls(same, depth):
            yield AttentionGroup(
                queries=_stacked([block.queries for block in members], width, device),
                keys=_stacked([block.keys for block in members], depth, device),
                hidden=torch.from_numpy(~members[0].mask(width)[None]).to(device),
                padding=None,
            )


def _padded_groups(
    blocks: Sequence[_Block], device: torch.device, rounding: int, key_rounding: int
) -> Iterator[AttentionGroup]:
    """Blocks whose shapes are the same after rounding up, each with its own mask."""
    alike: dict[tuple[int, int], list[_Block]] = defaultdict(list)
    for block in blocks:
        alike[_rounded_up(len(block.queries), rounding), _rounded_up(len(block.keys), key_rounding)].append(block)
    for (width, depth), same in alike.items():
        for members in _calls(same, depth):
            padding = [depth - len(block.keys) for block in members]
            yield AttentionGroup(
                queries=_stacked([block.queries for block in members], width, device),
                keys=_stacked([block.keys for block in members], depth, device),
                hidden=torch.from_numpy(~np.stack([block.mask(width) for block in members])).to(device),
                padding=torch.tensor(padding, device=device) if any(padding) else None,
            )


def _calls(blocks: list[_Block], depth: int) -> Iterator[list[_Block]]:
    """The blocks, cut where one call would gather too many keys."""
    most = max(MAX_GATHERED_KEYS // depth, 1)
    for begin in range(0, len(blocks), most):
        yield blocks[begin : begin + most]


def _rounded_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


def _stacked(rows: Sequence[Ids], width: int, device: torch.device) -> Tensor:
    """Rows of indices, padded in front with each row's first, shape (rows, width)."""
    padded = [np.concatenate([np.repeat(row[:1], width - len(row)), row]) for row in rows]
    return torch.from_numpy(np.stack(padded)).to(device)


def _gathered(source: Tensor, index: Tensor) -> Tensor:
    """What `source`, (places, heads, size), has at `index`, (rows, n), as (rows, heads, n, size)."""
    return source.index_select(0, index.flatten()).unflatten(0, index.shape).transpose(1, 2)
