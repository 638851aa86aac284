"""One forward pass, laid out: the tokens of all rows packed into one sequence, and who sees whom.

No token is padded. Attention is planned here, once a pass, as a few groups of rows whose queries and keys have the
same shape; every layer then only gathers, attends and scatters. A row's draft is a tree, so a guess sees the row's
context and the guesses that lead to it, but not the other branches.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from guard_reward.scoring.draft import Draft
from guard_reward.scoring.prefixes import Ids

__all__ = ["AttentionGroup", "Layout", "Segment", "lay_out", "rounding_on"]

KEYS_AT_ONCE = 65_536  # keys gathered for one call, shared ones once a row: 0.27 GB for Qwen3 in bfloat16
QUERY_BLOCK = 256  # queries of one row that share a list of keys; smaller blocks skip more of the causal half


@dataclass(frozen=True, slots=True)
class Segment:
    """What one row gives to a pass.

    Attributes:
        fresh: known tokens whose keys and values are not stored yet, at least one.
        path: slots of all known tokens, the fresh ones last.
        draft: guesses about what follows.
        draft_slots: their slots, shape (guesses,).
    """

    fresh: Sequence[int]
    path: Ids
    draft: Draft
    draft_slots: Ids

    @property
    def keys(self) -> Ids:
        return np.concatenate([self.path, self.draft_slots])

    @property
    def verdicts(self) -> int:
        """Positions whose logits decide a token of the answer: the last known token, and every guess."""
        return 1 + len(self.draft)

    def visible(self, begin: int, end: int) -> NDArray[np.bool_]:
        """Which of its own tokens (fresh, then guesses) from `begin` to `end` see each other, shape (n, n).

        All that stands before `begin` is seen by all of them.
        """
        visible = np.tri(end - begin, dtype=bool)
        first_guess = len(self.fresh) - begin
        for guess, parent in enumerate(self.draft.parents[1 : 1 + max(end - len(self.fresh), 0)]):
            row = visible[first_guess + guess]
            # Of the guesses it sees what its parent sees, and itself. The root is no guess.
            row[first_guess:] = visible[first_guess + parent - 1, first_guess:] if parent else False
            row[first_guess + guess] = True
        return visible


@dataclass(frozen=True, slots=True)
class AttentionGroup:
    """Rows whose attention is computed in one call.

    Attributes:
        queries: places in the packed pass, shape (rows, queries).
        keys: slots, shape (rows, keys); the last of them are the queries' own.
        hidden: where a query does not see one of the last keys, shape (rows or 1, queries, queries).
        padding: how many keys in front nobody sees, shape (rows,); None where there are none.
    """

    queries: Tensor
    keys: Tensor
    hidden: Tensor
    padding: Tensor | None

    def bias(self, dtype: torch.dtype, times: int = 1) -> Tensor:
        """0 where a query sees a key, else -inf, each query `times` times in a row.

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
class Layout:
    """A packed pass over T tokens, of which V decide a token of an answer.

    Attributes:
        tokens, positions, slots: shape (T,).
        attention: covers every token once.
        verdicts: the deciding places, row after row, shape (V,).
        verdict_attention: covers the deciding places only; `queries` count in V, not in T.
    """

    tokens: Tensor
    positions: Tensor
    slots: Tensor
    attention: list[AttentionGroup]
    verdicts: Tensor
    verdict_attention: list[AttentionGroup]


def rounding_on(device: torch.device, widest: int) -> tuple[int, int]:
    """The `rounding` and `key_rounding` of `lay_out` for a device and the most tokens that a row gives to the pass.

    A call costs time of its own, and so does padding. With many tokens a row, padding costs more on a CPU; with one
    token a row (an answer outside the grammar) the calls do.
    """
    if device.type == "cpu":
        return (1, 1) if widest > 32 else (1, 64)
    return (32, 32) if widest > 32 else (8, 64)


def lay_out(
    segments: Sequence[Segment], device: torch.device, rounding: int = 1, key_rounding: int | None = None
) -> Layout:
    """Plan the pass over `segments`.

    Args:
        segments: the rows' contributions, in any order.
        device: where the model is.
        rounding: numbers of queries are padded up to multiples of this, so that more rows share a call.
        key_rounding: the same for keys; by default `rounding`.
    """
    starts = np.cumsum([0, *(len(s.fresh) + len(s.draft) for s in segments)])
    verdict_starts = np.cumsum([0, *(s.verdicts for s in segments)])
    blocks = [
        block
        for segment, start, verdict_start in zip(segments, starts, verdict_starts, strict=False)
        for block in _blocks(segment, int(start), int(verdict_start))
    ]

    def tensor(parts: list[Ids]) -> Tensor:
        return torch.from_numpy(np.concatenate(parts)).to(device)

    return Layout(
        tokens=tensor([np.array([*s.fresh, *s.draft.tokens]) for s in segments]),
        positions=tensor(
            [
                np.concatenate(
                    [
                        np.arange(len(s.path) - len(s.fresh), len(s.path)),
                        len(s.path) - 1 + np.array(s.draft.depths[1:], dtype=np.int64),
                    ]
                )
                for s in segments
            ]
        ),
        slots=tensor([s.keys[len(s.path) - len(s.fresh) :] for s in segments]),
        attention=list(_groups(blocks, device, rounding, key_rounding or rounding)),
        verdicts=tensor([np.arange(end - s.verdicts, end) for s, end in zip(segments, starts[1:], strict=True)]),
        verdict_attention=list(
            _groups([b.at_verdicts() for b in blocks if b.is_last], device, rounding, key_rounding or rounding)
        ),
    )


@dataclass(frozen=True, slots=True)
class _Block:
    """Some consecutive queries of one row, and the keys that any of them sees.

    Attributes:
        segment: the row.
        begin, end: which of its own tokens ask.
        queries: where their answers go.
        verdict_start: where the row's verdict positions begin among all.
    """

    segment: Segment
    begin: int
    end: int
    queries: Ids
    verdict_start: int

    @property
    def is_last(self) -> bool:
        return self.end == len(self.segment.fresh) + len(self.segment.draft)

    @property
    def keys(self) -> Ids:
        return self.segment.keys[: len(self.segment.path) - len(self.segment.fresh) + self.end]

    @property
    def tree_key(self) -> tuple[int, ...]:
        """Two blocks with as many queries and keys see alike if their trees have one shape: all else is causal."""
        return self.segment.draft.tree_key if self.is_last and len(self.segment.draft) else ()

    def at_verdicts(self) -> _Block:
        """The same for the verdict positions only."""
        count = self.segment.verdicts
        places = np.arange(self.verdict_start, self.verdict_start + count)
        return _Block(self.segment, self.end - count, self.end, places, self.verdict_start)


def _blocks(segment: Segment, start: int, verdict_start: int) -> Iterator[_Block]:
    own = len(segment.fresh) + len(segment.draft)
    count = -(-own // QUERY_BLOCK)
    # All verdict positions stay in the last block.
    ends = [*sorted({(len(segment.fresh) - 1) * i // count for i in range(1, count)} - {0}), own]
    for begin, end in zip([0, *ends], ends, strict=False):
        yield _Block(segment, begin, end, np.arange(start + begin, start + end), verdict_start)


def _groups(
    blocks: Sequence[_Block], device: torch.device, rounding: int, key_rounding: int
) -> Iterator[AttentionGroup]:
    """Blocks of one (rounded) shape together."""
    exact = rounding == key_rounding == 1  # then all rows of a call see alike, and one of them stands for all
    alike: dict[tuple[int, int, tuple[int, ...]], list[_Block]] = defaultdict(list)
    for block in blocks:
        shape = (_rounded_up(len(block.queries), rounding), _rounded_up(len(block.keys), key_rounding))
        alike[*shape, block.tree_key if exact else ()].append(block)
    for (width, depth, _), blocks_alike in alike.items():
        most = max(KEYS_AT_ONCE // depth, 1)
        for begin in range(0, len(blocks_alike), most):
            members = blocks_alike[begin : begin + most]
            seen = np.stack([_seen(block, width) for block in (members[:1] if exact else members)])
            yield AttentionGroup(
                queries=_stacked([block.queries for block in members], width, device),
                keys=_stacked([block.keys for block in members], depth, device),
                hidden=torch.from_numpy(~seen).to(device),
                padding=torch.tensor([depth - len(block.keys) for block in members], device=device)
                if any(len(block.keys) < depth for block in members)
                else None,
            )


def _seen(block: _Block, width: int) -> NDArray[np.bool_]:
    """Which of the last `width` keys each query of the block sees, padded in front to shape (width, width).

    Padding queries are copies of the first query: computed several times, with the same result. The keys before the
    block's own are seen by all.
    """
    visible = block.segment.visible(block.begin, block.end)
    padding = width - len(visible)
    seen = np.ones((width, width), dtype=bool)
    seen[padding:, padding:] = visible
    seen[:padding, padding:] = visible[0]
    return seen


def _rounded_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


def _stacked(rows: Sequence[Ids], width: int, device: torch.device) -> Tensor:
    """Rows of indices, padded in front with each row's first, shape (rows, width)."""
    padded = [np.concatenate([np.repeat(row[:1], width - len(row)), row]) for row in rows]
    return torch.from_numpy(np.stack(padded)).to(device)
