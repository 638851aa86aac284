"""One forward pass: the tokens of all rows packed into one sequence, and who sees whom.

No token is padded. Attention is planned here, once per pass, as a few groups of rows whose queries and keys have the
same shape; every layer then only gathers, attends and scatters. The plan is made with arrays over all rows, without the
device, so it can be made while the device runs another pass. A row's part of a pass, and what its tokens see::

    slots     | already cached … | new tokens  | draft: a tree of guesses
    keys        c c c c c c c c    n0  n1  n2    g1  g2 (behind g1)  g3 (a second branch behind n2)
    queries                        n0  n1  n2    g1  g2              g3
    g2 sees     c c c c c c c c    n0  n1  n2    g1  g2

So a guess sees the row's context and the guesses that lead to it, but not the other branches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from guard_reward.scoring.attention import QueryGroup
from guard_reward.scoring.draft import Draft
from guard_reward.scoring.kv_cache import KeyValues
from guard_reward.scoring.prefixes import Ids
from guard_reward.scoring.transfer import to_device

__all__ = ["AttentionGroup", "PackedPass", "PlannedPass", "Segment", "pack", "plan_pass", "rounding_on"]

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

    new_tokens: Sequence[int] | Ids
    slots: Ids
    draft: Draft
    draft_slots: Ids

    def __len__(self) -> int:
        """Tokens that the pass computes: new tokens and guesses."""
        return len(self.new_tokens) + len(self.draft)


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
        rows = len(self.hidden) if self.padding is None else len(self.queries)
        bias = torch.zeros(rows, 1, width, depth, dtype=dtype, device=device)
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


@dataclass(frozen=True, slots=True)
class PlannedGroup:
    """An `AttentionGroup` in the host's memory; rows with the same mask share it.

    Attributes:
        queries, keys, padding: as in `AttentionGroup`.
        hidden: the distinct masks, shape (masks, queries, queries).
        mask: number of each row's mask, shape (rows,); None if there is one mask.
    """

    queries: Ids
    keys: Ids
    hidden: NDArray[np.bool_]
    mask: Ids | None
    padding: Ids | None

    def to(self, device: torch.device) -> AttentionGroup:
        """The same on a device."""
        hidden = to_device(self.hidden, device)
        return AttentionGroup(
            queries=to_device(self.queries, device),
            keys=to_device(self.keys, device),
            hidden=hidden if self.mask is None else hidden.index_select(0, to_device(self.mask, device)),
            padding=None if self.padding is None else to_device(self.padding, device),
        )


@dataclass(frozen=True, slots=True)
class PlannedPass:
    """A `PackedPass` in the host's memory."""

    tokens: Ids
    positions: Ids
    slots: Ids
    attention: list[PlannedGroup]
    logits_to_keep: Ids
    kept_attention: list[PlannedGroup]

    @property
    def nbytes(self) -> int:
        """Bytes that the plan takes, nearly all of it for the lists of keys and the masks."""
        return sum(group.keys.nbytes + group.hidden.nbytes for group in (*self.attention, *self.kept_attention))

    def to(self, device: torch.device) -> PackedPass:
        """The same on a device."""
        return PackedPass(
            tokens=to_device(self.tokens, device),
            positions=to_device(self.positions, device),
            slots=to_device(self.slots, device),
            attention=[group.to(device) for group in self.attention],
            logits_to_keep=to_device(self.logits_to_keep, device),
            kept_attention=[group.to(device) for group in self.kept_attention],
        )


def pack(
    segments: Sequence[Segment], device: torch.device, rounding: int = 1, key_rounding: int | None = None
) -> PackedPass:
    """The pass over `segments`, on the model's `device`; see `plan_pass`."""
    return plan_pass(segments, rounding, key_rounding).to(device)


def plan_pass(
    segments: Sequence[Segment], rounding: int = 1, key_rounding: int | None = None, *, keeps_all: bool = False
) -> PlannedPass:
    """Plan the pass over `segments`, without the device.

    Args:
        segments: the rows' parts, in any order.
        rounding: numbers of queries are padded up to multiples of this, so that more rows share a call.
        key_rounding: the same for keys, a multiple of `rounding`; by default `rounding` itself.
        keeps_all: whether the logits of all tokens are kept, not only of those that decide a token of an answer.

    Raises:
        ValueError: `key_rounding` is no multiple, so that a row could have more queries than keys.
    """
    rounded = rounding, key_rounding or rounding
    if rounded[1] % rounding:
        raise ValueError(f"key_rounding must be a multiple of rounding ({rounding}), not {key_rounding}")
    rows = _Rows.of(segments)
    place = _within(rows.computed)  # of each token among those that its row computes
    is_guess = place >= np.repeat(rows.new, rows.computed)
    positions = place + np.repeat(rows.known - rows.new, rows.computed)
    depths = [segment.draft.guess_depths for segment in segments]
    positions[is_guess] = np.repeat(rows.known - 1, rows.guesses) + np.concatenate(depths)
    tokens = [part for segment in segments for part in (segment.new_tokens, segment.draft.guess_tokens)]
    kept = 1 + rows.guesses  # the last known token, and the guesses
    attention = list(_groups(rows, _blocks(rows), *rounded))
    decisive = _within(kept) + np.repeat(rows.starts + rows.new - 1, kept)
    return PlannedPass(
        tokens=np.concatenate(tokens, dtype=np.int64),
        positions=positions,
        slots=rows.key_slots[place + np.repeat(rows.key_starts + rows.known - rows.new, rows.computed)],
        attention=attention,
        logits_to_keep=np.arange(len(place)) if keeps_all else decisive,
        kept_attention=attention if keeps_all else list(_groups(rows, _kept_blocks(rows), *rounded)),
    )


@dataclass(frozen=True, slots=True)
class _Rows:
    """The segments of a pass as arrays with one entry per row, if nothing else is said.

    Attributes:
        new, guesses, computed: numbers of new tokens, of guesses, and of both together.
        known: number of known tokens, the new ones among them.
        starts: where the row's tokens begin in the pass.
        tree: number of its draft's tree in `trees`; -1 for no guesses.
        trees: a draft of each tree.
        key_slots: of all rows, one after the other: slots of all that a row may see.
        key_starts: where the row begins in `key_slots`.
    """

    new: Ids
    guesses: Ids
    computed: Ids
    known: Ids
    starts: Ids
    tree: Ids
    trees: list[Draft]
    key_slots: Ids
    key_starts: Ids

    @classmethod
    def of(cls, segments: Sequence[Segment]) -> _Rows:
        new = np.array([len(segment.new_tokens) for segment in segments], dtype=np.int64)
        guesses = np.array([len(segment.draft) for segment in segments], dtype=np.int64)
        known = np.array([len(segment.slots) for segment in segments], dtype=np.int64)
        drafts = {id(segment.draft): segment.draft for segment in segments}
        trees = {draft.tree_key: draft for draft in drafts.values() if len(draft)}
        number = {key: index for index, key in enumerate(trees)}
        tree_of = {key: number.get(draft.tree_key, -1) for key, draft in drafts.items()}
        return cls(
            new=new,
            guesses=guesses,
            computed=new + guesses,
            known=known,
            starts=_starts(new + guesses),
            tree=np.array([tree_of[id(segment.draft)] for segment in segments], dtype=np.int64),
            trees=list(trees.values()),
            key_slots=np.concatenate([part for segment in segments for part in (segment.slots, segment.draft_slots)]),
            key_starts=_starts(known + guesses),
        )


@dataclass(frozen=True, slots=True)
class _Blocks:
    """Runs of consecutive queries of one row each; arrays with one entry per block.

    Attributes:
        row: number of the row.
        width: number of queries.
        depth: number of keys that any of them sees: the first of the row's.
        place: where its outputs begin.
        tree: of the guesses among the queries; -1 if there are none. Everything else is causal.
    """

    row: Ids
    width: Ids
    depth: Ids
    place: Ids
    tree: Ids


def _blocks(rows: _Rows) -> _Blocks:
    """Blocks of about `QUERY_BLOCK` queries that cover all rows."""
    count = -(-rows.computed // QUERY_BLOCK)
    row, number = np.repeat(np.arange(len(count)), count), _within(count)
    # All kept places stay in the last block.
    begin, end = (rows.new[row] - 1) * number // count[row], (rows.new[row] - 1) * (number + 1) // count[row]
    is_last = number == count[row] - 1
    end[is_last] = rows.computed[row[is_last]]
    blocks = _Blocks(
        row=row,
        width=end - begin,
        depth=(rows.known - rows.new)[row] + end,
        place=rows.starts[row] + begin,
        tree=np.where(is_last, rows.tree[row], -1),
    )
    filled = end > begin
    return _Blocks(*(getattr(blocks, name)[filled] for name in ("row", "width", "depth", "place", "tree")))


def _kept_blocks(rows: _Rows) -> _Blocks:
    """One block per row, of the places whose logits are kept."""
    kept = 1 + rows.guesses
    return _Blocks(
        row=np.arange(len(kept)), width=kept, depth=rows.known + rows.guesses, place=_starts(kept), tree=rows.tree
    )


def _groups(rows: _Rows, blocks: _Blocks, rounding: int, key_rounding: int) -> Iterator[PlannedGroup]:
    """Blocks whose shapes are the same after rounding up.

    Without rounding, blocks of a group also have the same mask, so that the first one's is that of all.
    """
    width, depth = _rounded_up(blocks.width, rounding), _rounded_up(blocks.depth, key_rounding)
    trees = len(rows.trees) + 1
    shape = (width * (depth.max() + 1) + depth) * trees  # one number per pair
    if rounding == key_rounding == 1:
        shape += blocks.tree + 1
    _, first, group, sizes = np.unique(shape, return_index=True, return_inverse=True, return_counts=True)
    ends = np.cumsum(sizes)
    members = np.argsort(group, kind="stable")
    for number in np.argsort(first):  # in the order in which they appear
        of_group = members[ends[number] - sizes[number] : ends[number]]
        wide, deep = int(width[of_group[0]]), int(depth[of_group[0]])
        most = max(MAX_GATHERED_KEYS // deep, 1)
        for begin in range(0, len(of_group), most):
            yield _group(rows, blocks, of_group[begin : begin + most], wide, deep)


def _group(rows: _Rows, blocks: _Blocks, members: Ids, width: int, depth: int) -> PlannedGroup:
    """Some blocks with their queries and keys padded in front, with each row's first, to `width` and `depth`."""
    padding, key_padding = width - blocks.width[members], depth - blocks.depth[members]  # (rows,)
    queries = _padded_runs(blocks.place[members], padding, width)
    keys = _padded_runs(rows.key_starts[blocks.row[members]], key_padding, depth)
    masks, mask = np.unique(padding * (len(rows.trees) + 1) + blocks.tree[members] + 1, return_inverse=True)
    of_masks = [divmod(int(code), len(rows.trees) + 1) for code in masks]
    hidden = np.repeat(_hidden_if_causal(width)[None], len(masks), axis=0)
    for number, (padded, tree) in enumerate(of_masks):
        _hide(hidden[number], padded, rows.trees[tree - 1] if tree else None)
    return PlannedGroup(
        queries=queries,
        keys=rows.key_slots.take(keys, mode="clip"),  # faster than with a check of bounds
        hidden=hidden,
        mask=mask if len(masks) > 1 else None,
        padding=key_padding if key_padding.any() else None,
    )


@cache
def _hidden_if_causal(width: int) -> NDArray[np.bool_]:
    """Which of the last `width` keys a query does not see, if nothing is guessed, shape (width, width)."""
    return ~np.tri(width, dtype=bool)


def _hide(hidden: NDArray[np.bool_], padding: int, draft: Draft | None) -> None:
    """Change a causal mask in place for a block whose first `padding` queries are padding, and whose last are guesses.

    Padding queries are copies of the first query: computed several times, with the same result. The keys before the
    block's own are seen by all.
    """
    if draft is not None:
        hidden[-len(draft) :, -len(draft) :] = ~draft.visible
    hidden[:, :padding] = False
    hidden[:padding, padding] = False


def _padded_runs(starts: Ids, padding: Ids, width: int) -> Ids:
    """Consecutive numbers from each start on, the first repeated in front `padding` times, shape (rows, width)."""
    runs: Ids = np.arange(width) + (starts - padding)[:, None]
    return np.maximum(runs, starts[:, None], out=runs)


def _starts(counts: Ids) -> Ids:
    """Where each of several runs of so many entries begins, if they follow on each other."""
    return np.cumsum(counts) - counts


def _within(counts: Ids) -> Ids:
    """The numbers 0, 1, … up to each count, one run after the other: [2, 3] → [0, 1, 0, 1, 2]."""
    return np.arange(counts.sum()) - np.repeat(_starts(counts), counts)


def _rounded_up(numbers: Ids, multiple: int) -> Ids:
    return -(-numbers // multiple) * multiple


def _gathered(source: Tensor, index: Tensor) -> Tensor:
    """What `source`, (places, heads, size), has at `index`, (rows, n), as (rows, heads, n, size)."""
    return source.index_select(0, index.flatten()).unflatten(0, index.shape).transpose(1, 2)
