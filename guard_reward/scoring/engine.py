"""Draft, one forward, verify, continue: the exact greedy answer of a causal LM in as few passes as its drafts allow.

Speculative decoding (Leviathan et al., arXiv 2211.17192; trees of drafts: SpecInfer, arXiv 2305.09781) at temperature
0, with a grammar as the draft model. All rows' inputs and drafted answers go through the model together. Where the
arg-max equals a guess, the tokens are what ``generate(do_sample=False)`` would have produced one by one; at the first
difference the model's own token is taken and the next draft continues from there. A row whose answer leaves the
grammar gets no drafts and is decoded token by token, exactly as ``generate`` does.

Exact means: equal to greedy ``generate`` in float32. In lower precision two nearly equal logits can swap places
between any two ways of computing them, even between ``generate`` with two batch sizes.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from guard_reward._renamed import renamed_names
from guard_reward.models.sleep import MODEL_LOCK
from guard_reward.scoring.bulk_decoding import decode_in_bulk
from guard_reward.scoring.choose_runner import choose_runner
from guard_reward.scoring.draft import Decision, Grammar
from guard_reward.scoring.kv_cache import KeyValues, KVCache, joined
from guard_reward.scoring.model_runner import ModelRunner
from guard_reward.scoring.onednn import fast_products
from guard_reward.scoring.packing import PlannedPass, Segment, plan_pass, rounding_on
from guard_reward.scoring.prefill import chunks, cut_prefill
from guard_reward.scoring.prefixes import TokenRows, as_ids, begins_a_row, share_prefixes, sorted_order
from guard_reward.scoring.reading import read_logits
from guard_reward.scoring.row import Generation, Row
from guard_reward.scoring.verification import Verifier

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["Generation", "PlannedBatch", "ScoringEngine", "Usage"]

logger = logging.getLogger(__name__)
# Both take a bias and need no plan for each new shape, which cuDNN's attention would make for nearly every call.
CUDA_KERNELS = [SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


@dataclass(slots=True)
class Usage:
    """What an engine has done since it was created.

    Attributes:
        rows: answers given.
        passes: forward passes, summed over the rows that took part in them.
        input_tokens: tokens of all inputs.
        computed_tokens: input tokens that went through the model; the others were shared.
    """

    rows: int = 0
    passes: int = 0
    input_tokens: int = 0
    computed_tokens: int = 0

    def since(self, before: Usage) -> Usage:
        """What was done after `before`, a copy of an earlier state."""
        return Usage(
            self.rows - before.rows,
            self.passes - before.passes,
            self.input_tokens - before.input_tokens,
            self.computed_tokens - before.computed_tokens,
        )

    @property
    def prefix_reuse(self) -> float:
        """Fraction of the input tokens that were not computed, because they were shared."""
        return 1 - self.computed_tokens / self.input_tokens if self.input_tokens else 0.0

    @property
    def passes_per_verdict(self) -> float:
        """Mean forward passes per answer."""
        return self.passes / self.rows if self.rows else 0.0


@dataclass(slots=True)
class PlannedBatch:
    """What `ScoringEngine.plan` has done for a batch. Running it uses it up.

    Attributes:
        order: numbers of the inputs, in lexicographic order.
        rows: in that order.
        cache: with slots for the preambles and all rows.
        preambles: which ones the rows begin with.
        input_tokens: of all rows.
        new_tokens: those of them that are computed.
        prefill: passes in front of the first one with drafts; there are some if a row is longer than a pass may be.
        first_pass: None without rows.
        is_used: whether it has been run.
    """

    order: list[int]
    rows: list[Row]
    cache: KVCache
    preambles: list[int]
    input_tokens: int
    new_tokens: int
    prefill: list[PlannedPass]
    first_pass: PlannedPass | None
    is_used: bool = False

    @property
    def nbytes(self) -> int:
        """Bytes that the plan takes in the host's memory."""
        passes = [*self.prefill, *([self.first_pass] if self.first_pass else [])]
        return sum(row.slots.nbytes for row in self.rows) + sum(planned.nbytes for planned in passes)


class ScoringEngine:
    """Scores batches of token-id rows with one model.

    Args:
        model: a causal LM in eval mode, whole on its device, that attends to its whole context.
        end_token_ids: the ids that end an answer.
        max_new_tokens: the longest answer; 128 as on Qwen3Guard's model card.
        preambles: how inputs usually begin; computed once, then kept until `reset_prefix_cache` or until the weights
            change.
        runner: runs the model's forward; by default the fastest runner that works for the model.
        max_pass_tokens: how many tokens a pass may compute now, guesses not counted; longer inputs, and longer
            preambles, take several passes. By default all fit into one. A batch of short rows is never cut: what a
            batch holds is the caller's choice.

    Raises:
        ValueError: a model with sliding-window, linear or recurrent attention, or whose attention cannot be replaced.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        end_token_ids: Collection[int],
        max_new_tokens: int = 128,
        *,
        preambles: Sequence[Sequence[int]] = (),
        runner: ModelRunner | None = None,
        max_pass_tokens: Callable[[], int] | None = None,
    ):
        self.model = model
        self.end_token_ids = frozenset(end_token_ids)
        self.max_new_tokens = max_new_tokens
        self.runner = runner or choose_runner(model)
        self.max_pass_tokens = max_pass_tokens or (lambda: sys.maxsize)
        self.usage = Usage()
        self._preambles = [np.array(preamble) for preamble in preambles if len(preamble)]
        self._kept: dict[int, dict[int, KeyValues]] = {}  # preamble → layer → its keys and values
        self._kept_for: list[Any] = []  # the weights that computed them
        self._rounding: tuple[int, int] | None = None  # by default the device's

    @property
    def preambles(self) -> list[list[int]]:
        """How inputs usually begin."""
        return [preamble.tolist() for preamble in self._preambles]

    def reset_prefix_cache(self) -> None:
        """Free the kept preambles; the next batch computes them again."""
        self._kept.clear()

    def forget(self) -> None:
        """Old name of `reset_prefix_cache`, for one more version."""
        warnings.warn("forget() is now called reset_prefix_cache()", DeprecationWarning, stacklevel=2)
        self.reset_prefix_cache()

    @torch.inference_mode()
    def generate(
        self, inputs: TokenRows, grammars: Sequence[Grammar], *, planned: PlannedBatch | None = None
    ) -> list[Generation]:
        """The greedy answers to `inputs`, in order.

        Args:
            inputs: token ids, one sequence per row, none empty.
            grammars: what each row's answer is expected to look like.
            planned: what `plan` returned for the same inputs and grammars, to be used once; by default made now.

        Raises:
            ValueError: `planned` has been used before.
        """
        planned = planned or self.plan(inputs, grammars)
        if planned.is_used:
            raise ValueError("planned: this batch has been run; plan it again")
        planned.is_used = True
        with MODEL_LOCK, fast_products(self.model):
            return self._run(planned)

    def plan(
        self, inputs: TokenRows, grammars: Sequence[Grammar], *, max_pass_tokens: int | None = None
    ) -> PlannedBatch:
        """What can be done for a batch before the model runs; another thread may do it while the model runs.

        Args:
            inputs, grammars: as for `generate`.
            max_pass_tokens: see the class; by default asked now, and while another batch runs less memory is free.
        """
        ids = [as_ids(row) for row in inputs]
        order = sorted_order(ids)
        tokens = [ids[index] for index in order]
        preambles = [index for index, preamble in enumerate(self._preambles) if begins_a_row(preamble, tokens)]
        cache = KVCache()
        cached = [(self._preambles[index], cache.allocate(len(self._preambles[index]))) for index in preambles]
        shared = share_prefixes(tokens, cached, cache.allocated)
        cache.allocate(sum(len(row) - one.num_cached for row, one in zip(tokens, shared, strict=True)))
        rows = [
            Row(grammars[index], self.max_new_tokens, grammars[index].start, one.slots, row[one.num_cached :])
            for index, row, one in zip(order, tokens, shared, strict=True)
        ]
        new_tokens = sum(len(row.new_tokens) for row in rows)
        most = max_pass_tokens or self.max_pass_tokens()
        prefill = [self._plan_segments(segments) for segments in cut_prefill(rows, most)]
        self._draft(rows, cache)
        input_tokens = sum(map(len, tokens))
        return PlannedBatch(order, rows, cache, preambles, input_tokens, new_tokens, prefill, self._plan_pass(rows))

    def _run(self, batch: PlannedBatch) -> list[Generation]:
        self._reset_if_weights_changed()
        computed = self._compute_preambles(batch.preambles) + batch.new_tokens
        batch.cache.begin_with(joined([self._kept[index] for index in batch.preambles]))
        for part in batch.prefill:
            self._forward(part, batch.cache)
        rows, lost, planned = batch.rows, list[Row](), batch.first_pass
        while planned is not None:
            output = self._forward(planned, batch.cache)
            logits = read_logits(self.runner, output, _decisions(rows))
            verifier = Verifier(self.end_token_ids)
            for row, (argmax, log_probs) in zip(rows, logits.split([1 + len(row.draft) for row in rows]), strict=True):
                verified = verifier.verify(row.grammar, row.draft, argmax)
                row.accept(verified, log_probs)
                self._continue(row, verified.nodes, batch.cache)
            rows = self._next_rows(rows, lost, batch.cache)
            planned = self._plan_pass(rows)
        generations = [row.generation for row in batch.rows]
        if not all(generation.is_finite for generation in generations):
            self.reset_prefix_cache()  # what is kept may be where they come from
        self.usage.rows += len(generations)
        self.usage.passes += sum(generation.passes for generation in generations)
        self.usage.input_tokens += batch.input_tokens
        self.usage.computed_tokens += computed
        answers = dict(zip(batch.order, generations, strict=True))
        return [answers[index] for index in range(len(answers))]

    def _next_rows(self, rows: list[Row], lost: list[Row], cache: KVCache) -> list[Row]:
        """The rows of the next pass, with their drafts; rows off the grammar join `lost` until no other is left."""
        rows = [row for row in rows if len(row.new_tokens)]
        self._draft(rows, cache)
        lost += [row for row in rows if row.is_lost]
        rows = [row for row in rows if not row.is_lost]
        if lost and not rows:  # only now: the more rows, the less each costs
            with attention_kernels(self.model.device):
                decode_in_bulk(lost, cache, self.runner, self.end_token_ids, self.model.device)
            rows = [row for row in lost if len(row.new_tokens)]
            lost.clear()
            self._draft(rows, cache)
        return rows

    def _reset_if_weights_changed(self) -> None:
        """Kept keys and values are right only for the weights that computed them."""
        weights = [
            (p.data_ptr(), p.device, p.dtype, None if p.is_inference() else p._version) for p in self.model.parameters()
        ]
        if weights != self._kept_for:
            self.reset_prefix_cache()
            self._kept_for = weights

    def _compute_preambles(self, preambles: list[int]) -> int:
        """Compute the preambles that are not kept yet; returns how many tokens that took.

        Each has passes of its own, so that it, and every later probability, is the same to the last bit whichever
        batch came first.
        """
        missing = [index for index in preambles if index not in self._kept]
        for index in missing:
            cache = KVCache()
            slots = cache.allocate(len(self._preambles[index]))
            for chunk in chunks(self._preambles[index], slots, self.max_pass_tokens()):
                self._forward(self._plan_segments([chunk]), cache)
            self._kept[index] = cache.read(torch.from_numpy(slots).to(self.model.device))
        return sum(len(self._preambles[index]) for index in missing)

    def _draft(self, rows: list[Row], cache: KVCache) -> None:
        """Give each row the guesses of its next pass, and slots for them."""
        for row in rows:
            row.draft = row.next_draft()
        ends = np.cumsum([len(row.draft) for row in rows], dtype=np.int64)
        slots = cache.allocate(int(ends[-1]) if len(ends) else 0)
        for row, end in zip(rows, ends.tolist(), strict=True):
            row.draft_slots = slots[end - len(row.draft) : end]

    def _plan_pass(self, rows: Sequence[Row]) -> PlannedPass | None:
        """A pass over all new tokens and guesses; None without rows."""
        if not rows:
            return None
        return self._plan_segments([Segment(row.new_tokens, row.slots, row.draft, row.draft_slots) for row in rows])

    def _plan_segments(self, segments: Sequence[Segment]) -> PlannedPass:
        return plan_pass(segments, *(self._rounding or rounding_on(self.model.device, max(map(len, segments)))))

    def _forward(self, planned: PlannedPass, cache: KVCache) -> Tensor:
        """Run a pass.

        Returns:
            What the runner computed at the V places whose logits decide a token, row after row: each row's last known
            token, then its guesses. Shape (V, …).
        """
        device = self.model.device
        with attention_kernels(device):
            return self.runner.forward(planned.to(device), cache)

    def _continue(self, row: Row, accepted: list[int], cache: KVCache) -> None:
        """Keep the right guesses, free the others; the last token is left for the next pass."""
        if row.is_complete:
            row.new_tokens = row.new_tokens[:0]
            return
        if len(row.draft):
            row.misses = 0 if accepted else row.misses + 1
        row.unguessed = 0 if len(row.draft) else row.unguessed + 1
        right = np.array(accepted, dtype=np.int64) - 1  # guess n is node n + 1: the root has its slot already
        cache.free(np.delete(row.draft_slots, right))
        row.new_tokens = np.array(row.generation.token_ids[-1:])
        row.slots = np.concatenate([row.slots, row.draft_slots[right], cache.allocate(1)])


def _decisions(rows: Sequence[Row]) -> list[Decision | None]:
    """What is decided behind each node of the rows' drafts, row after row, shape (V,)."""
    known: dict[tuple[int, int], list[Decision | None]] = {}  # most rows have the same grammar and draft
    for row in rows:
        key = id(row.grammar), id(row.draft)
        if key not in known:
            known[key] = [row.grammar.decision(state) for state in row.draft.states]
    return [decision for row in rows for decision in known[id(row.grammar), id(row.draft)]]


def attention_kernels(device: torch.device) -> contextlib.AbstractContextManager[None]:
    """The kernels that attention may use on a device."""
    return sdpa_kernel(CUDA_KERNELS) if device.type == "cuda" else contextlib.nullcontext()


__getattr__ = renamed_names(__name__, "ONE_AT_A_TIME", "VerdictEngine")
