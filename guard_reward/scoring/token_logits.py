"""What a model says at every token of a row: in one forward over finished rows, or token by token while rows grow.

Attention is causal, so both give the same: teacher forcing computes for each token what a model that reads token by
token would have computed. Beginnings that rows share are computed once, and a growing row keeps its keys and values.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from guard_reward.models.sleep import MODEL_LOCK
from guard_reward.scoring.choose_runner import choose_runner
from guard_reward.scoring.engine import Usage, attention_kernels
from guard_reward.scoring.kv_cache import KVCache
from guard_reward.scoring.model_runner import ModelRunner
from guard_reward.scoring.onednn import fast_products
from guard_reward.scoring.packing import Segment, plan_pass, rounding_on
from guard_reward.scoring.prefill import segment_of
from guard_reward.scoring.prefixes import Ids, TokenRows, as_ids, common_prefix, share_prefixes, sorted_order

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["GrowingRow", "TokenLogitsEngine"]

_NO_SLOTS = np.empty(0, dtype=np.int64)


@dataclass(slots=True, eq=False)
class GrowingRow:
    """A row that tokens are added to.

    Attributes:
        token_ids: all tokens so far.
        slots: of those of them whose keys and values are kept; the others are computed again with the next token.
    """

    token_ids: list[int] = field(default_factory=list)
    slots: Ids = field(default_factory=lambda: _NO_SLOTS)


class TokenLogitsEngine:
    """Computes a model's outputs at every token.

    Args:
        model: in eval mode, whole on its device, that attends to its whole context.
        runner: runs the model's forward; by default the fastest runner that works for the model.
        max_pass_tokens: how many tokens a pass may compute now; what is longer takes several passes.

    Attributes:
        usage: what it has done; each row takes part in one pass, or in some if it is long.

    Raises:
        ValueError: as `guard_reward.scoring.choose_runner`.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        runner: ModelRunner | None = None,
        max_pass_tokens: Callable[[], int] | None = None,
    ):
        self.model = model
        self.runner = runner or choose_runner(model)
        self.max_pass_tokens = max_pass_tokens or (lambda: sys.maxsize)
        self.usage = Usage()
        self._growing: set[GrowingRow] = set()
        self._cache = KVCache()  # of the growing rows

    @property
    def growing_tokens(self) -> int:
        """Tokens whose keys and values are kept for growing rows; shared ones count once."""
        return len(np.unique(np.concatenate([_NO_SLOTS, *(row.slots for row in self._growing)])))

    @property
    def growing_rows(self) -> int:
        """How many rows grow."""
        return len(self._growing)

    def begin(self, row: GrowingRow) -> None:
        """Count a row that will grow; `drop` ends it."""
        self._growing.add(row)

    def logits(self, rows: TokenRows) -> list[Tensor]:
        """The outputs at all tokens of finished rows.

        Args:
            rows: token ids, one sequence per row, none empty.

        Returns:
            One float32 tensor per row, in order, on the CPU, of shape (tokens, outputs).
        """
        if not len(rows):
            return []
        ids = [as_ids(row) for row in rows]
        order = sorted_order(ids)
        tokens = [ids[index] for index in order]
        shared = share_prefixes(tokens, [], 0)
        new = [row[one.num_cached :] for row, one in zip(tokens, shared, strict=True)]
        cache = KVCache()
        cache.allocate(sum(map(len, new)))
        parts = zip(new, (one.slots for one in shared), strict=True)
        # Rows get their slots one after the other, so what is computed for a slot stands at the place of its number.
        found, passes = self._computed(parts, cache)
        self.usage.rows += len(rows)
        self.usage.passes += passes * len(rows)
        self.usage.input_tokens += sum(map(len, tokens))
        self.usage.computed_tokens += len(found)
        by_index = {index: found[torch.from_numpy(one.slots)] for index, one in zip(order, shared, strict=True)}
        return [by_index[index] for index in range(len(rows))]

    def extend(
        self, rows: Sequence[GrowingRow], tokens: Sequence[Sequence[int]], silent: Sequence[int] | None = None
    ) -> list[Tensor]:
        """Add tokens to growing rows, in one pass if all fit into one.

        Rows of which nothing is kept yet share their beginnings: several samples of one prompt compute and keep it
        once.

        Args:
            rows: each of them once, begun with `begin`.
            tokens: what is added to each, at least one token.
            silent: of how many of them, from the first one on, no outputs are wanted, per row; by default of none.

        Returns:
            The outputs at the other added tokens, per row, as `logits` would return them for the whole row.

        Raises:
            Exception: whatever the model raises; then no row has changed.
        """
        known = [len(row.token_ids) for row in rows]
        kept = [row.slots for row in rows]
        wanted = [len(added) - count for added, count in zip(tokens, silent or [0] * len(rows), strict=True)]
        try:
            for row, added in zip(rows, tokens, strict=True):
                row.token_ids.extend(added)
            # What a row shares must be computed before it: rows without slots go in lexicographic order.
            order = sorted(range(len(rows)), key=lambda index: [] if len(kept[index]) else rows[index].token_ids)
            parts = self._parts([(rows[index], wanted[index]) for index in order])
            found, _ = self._computed(parts, self._cache)
        except BaseException:
            for row, length, slots in zip(rows, known, kept, strict=True):
                self._cache.free(row.slots[len(slots) :])
                del row.token_ids[length:]
                row.slots = slots
            raise
        computed = dict(zip(order, found.split([len(new) for new, _ in parts]), strict=True))
        return [computed[index][len(computed[index]) - count :] for index, count in enumerate(wanted)]

    def _parts(self, rows: Sequence[tuple[GrowingRow, int]]) -> list[tuple[Ids, Ids]]:
        """What each row computes: its new tokens, and the slots of all its tokens, which are allocated here.

        Args:
            rows: each with the number of outputs that are wanted at its end: those are not shared.
        """
        parts = []
        left: GrowingRow | None = None
        for row, wanted in rows:
            ids = as_ids(row.token_ids)
            if not len(row.slots):
                if left is not None:
                    same = min(common_prefix(as_ids(left.token_ids), ids), len(ids) - max(wanted, 1))
                    row.slots = left.slots[:same]
                    self._cache.share(row.slots)
                left = row
            new = ids[len(row.slots) :]
            row.slots = np.concatenate([row.slots, self._cache.allocate(len(new))])
            parts.append((new, row.slots))
        return parts

    def truncate(self, row: GrowingRow, length: int) -> None:
        """Take a growing row's last tokens back, so that `length` are left."""
        del row.token_ids[length:]
        self._cache.free(row.slots[length:])
        row.slots = row.slots[:length]

    def drop(self, row: GrowingRow) -> None:
        """Free what is kept for a growing row."""
        self._growing.discard(row)
        self._cache.free(row.slots)
        row.slots = _NO_SLOTS
        if not self._growing:
            self._cache = KVCache()

    def forget(self) -> None:
        """Free the keys and values of all growing rows; their next tokens compute them again."""
        for row in self._growing:
            row.slots = _NO_SLOTS
        self._cache = KVCache()

    @torch.inference_mode()
    def _computed(self, rows: Iterable[tuple[Ids, Ids]], cache: KVCache) -> tuple[Tensor, int]:
        """The outputs at the new tokens of all rows, one behind the other, and how many passes they took.

        Args:
            rows: each with its new tokens, and the slots of all its tokens.
        """
        device = self.model.device
        outputs = []
        # A trainer may have switched autocast on; the guard keeps its own precision.
        with (
            MODEL_LOCK,
            fast_products(self.model),
            attention_kernels(device),
            torch.autocast(device.type, enabled=False),
        ):
            for segments in _passes(rows, self.max_pass_tokens()):
                rounding = rounding_on(device, max(map(len, segments)))
                packed = plan_pass(segments, *rounding, keeps_all=True).to(device)
                outputs.append(self.runner.logits(self.runner.forward(packed, cache)).float())
            return torch.cat(outputs).cpu(), len(outputs)


def _passes(rows: Iterable[tuple[Ids, Ids]], most: int) -> list[list[Segment]]:
    """Passes of at most `most` tokens over the new tokens of all rows, in order."""
    passes: list[list[Segment]] = [[]]
    free = most
    for tokens, slots in rows:
        begin = 0
        while begin < len(tokens):
            if not free:
                passes.append([])
                free = most
            end = min(begin + free, len(tokens))
            passes[-1].append(segment_of(tokens, slots, begin, end))
            free -= end - begin
            begin = end
    return passes
