"""Rows that are longer than a pass may be: what does not fit is computed in passes of its own, before any draft.

The intermediate results of a pass grow with its tokens. Batches are cut so that they fit, but one row cannot be; its
keys and values must all be there, its intermediate results need not be there at the same time.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from guard_reward.scoring.packing import Segment
from guard_reward.scoring.prefixes import Ids
from guard_reward.scoring.row import NO_DRAFT, Row

__all__ = ["chunks", "cut_prefill", "segment_of"]


def chunks(tokens: Ids, slots: Ids, most: int) -> list[Segment]:
    """Passes of at most `most` tokens that compute `tokens`, which have these `slots`, one after the other."""
    return [segment_of(tokens, slots, begin, min(begin + most, len(tokens))) for begin in range(0, len(tokens), most)]


def cut_prefill(rows: Sequence[Row], most: int) -> list[list[Segment]]:
    """If a row has more than `most` new tokens, cut off what all rows have beyond a pass of `most` tokens.

    The rows keep the new tokens that are left; a row that has none left computes its last one again, because its
    logits begin the answer.

    Args:
        rows: before their first pass, in lexicographic order: a row shares only what rows in front of it compute.
        most: new tokens of one pass, all rows together.

    Returns:
        The segments of each pass that must come first; none if no row is long.
    """
    lengths = np.array([len(row.new_tokens) for row in rows], dtype=np.int64)
    if not (lengths > most).any():
        return []
    starts = np.cumsum(lengths) - lengths
    end = (int(lengths.sum()) - 1) // most * most  # what is in front of it goes into the passes before the last
    passes = []
    for begin in range(0, end, most):
        first, last = np.maximum(begin - starts, 0), np.minimum(begin + most - starts, lengths)
        taking_part = np.flatnonzero(first < last).tolist()
        passes.append([segment_of(rows[i].new_tokens, rows[i].slots, int(first[i]), int(last[i])) for i in taking_part])
        for index in taking_part:
            rows[index].generation.passes += 1
    for row, left in zip(rows, (starts + lengths - end).tolist(), strict=True):
        row.new_tokens = row.new_tokens[-max(min(left, len(row.new_tokens)), 1) :]
    return passes


def segment_of(tokens: Ids, slots: Ids, begin: int, end: int) -> Segment:
    """New tokens `begin` to `end` of a row with these new tokens, and with the `slots` of all its tokens."""
    return Segment(tokens[begin:end], slots[: len(slots) - len(tokens) + end], NO_DRAFT, slots[:0])
