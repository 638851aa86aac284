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
import warnings
from collections.abc import Collection, Iterator, Sequence
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
from guard_reward.scoring.draft import ROOT, Grammar
from guard_reward.scoring.kv_cache import KeyValues, KVCache, joined
from guard_reward.scoring.model_runner import ModelRunner
from guard_reward.scoring.packing import Segment, pack, rounding_on
from guard_reward.scoring.prefixes import Ids, common_prefix, share_prefixes
from guard_reward.scoring.reading import LOGITS_CHUNK, log_probs_of, padded
from guard_reward.scoring.row import NO_DRAFT, Generation, Row

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["Generation", "ScoringEngine", "Usage"]

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


class ScoringEngine:
    """Scores batches of token-id rows with one model.

    Args:
        model: a causal LM in eval mode, whole on its device, that attends to its whole context.
        end_token_ids: the ids that end an answer.
        max_new_tokens: the longest answer; 128 as on Qwen3Guard's model card.
        preambles: how inputs usually begin; computed once, then kept until `reset_prefix_cache` or until the weights
            change.
        runner: runs the model's forward; by default the fastest runner that works for the model.

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
    ):
        self.model = model
        self.end_token_ids = frozenset(end_token_ids)
        self.max_new_tokens = max_new_tokens
        self.runner = runner or choose_runner(model)
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
    def generate(self, inputs: Sequence[Sequence[int]], grammars: Sequence[Grammar]) -> list[Generation]:
        """The greedy answers to `inputs`, in order.

        Args:
            inputs: token ids, one sequence per row, none empty.
            grammars: what each row's answer is expected to look like.
        """
        with MODEL_LOCK:
            return self._generate(inputs, grammars)

    def _generate(self, inputs: Sequence[Sequence[int]], grammars: Sequence[Grammar]) -> list[Generation]:
        self._reset_if_weights_changed()
        order = sorted(range(len(inputs)), key=lambda index: list(inputs[index]))
        tokens = [np.array(inputs[index], dtype=np.int64) for index in order]
        preambles = [
            index
            for index, preamble in enumerate(self._preambles)
            if any(common_prefix(row, preamble) == len(preamble) for row in tokens)
        ]
        computed = self._compute_preambles(preambles)
        rows, cache = self._begin(tokens, [grammars[index] for index in order], preambles)
        answers = dict(zip(order, (row.generation for row in rows), strict=True))
        computed += sum(len(row.new_tokens) for row in rows)
        lost: list[Row] = []
        while rows:
            self._draft(rows, cache)
            lost += [row for row in rows if row.is_lost]
            rows = [row for row in rows if not row.is_lost]
            if rows:
                output = self._forward(rows, cache)
                for row, (argmax, log_probs) in zip(rows, self._read(rows, output), strict=True):
                    accepted = self._verify(row, argmax, log_probs)
                    self._continue(row, accepted, cache)
            rows = [row for row in rows if row.new_tokens]
            if lost and not rows:  # only now: the more rows, the less each costs
                with attention_kernels(self.model.device):
                    decode_in_bulk(lost, cache, self.runner, self.end_token_ids, self.model.device)
                rows, lost = [row for row in lost if row.new_tokens], []
        self.usage.rows += len(answers)
        self.usage.passes += sum(generation.passes for generation in answers.values())
        self.usage.input_tokens += sum(len(row) for row in tokens)
        self.usage.computed_tokens += computed
        return [answers[index] for index in range(len(inputs))]

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

        Each has a pass of its own, so that it, and every later probability, is the same to the last bit whichever
        batch came first.
        """
        missing = [index for index in preambles if index not in self._kept]
        for index in missing:
            cache = KVCache()
            slots = cache.allocate(len(self._preambles[index]))
            self._pass([Segment(self._preambles[index].tolist(), slots, NO_DRAFT, slots[:0])], cache)
            self._kept[index] = cache.read(torch.from_numpy(slots).to(self.model.device))
        return sum(len(self._preambles[index]) for index in missing)

    def _begin(self, tokens: list[Ids], grammars: list[Grammar], preambles: list[int]) -> tuple[list[Row], KVCache]:
        """The rows, in lexicographic order; they share kept preambles and each other's beginnings."""
        cache = KVCache(joined([self._kept[index] for index in preambles]))
        cached = [(self._preambles[index], cache.allocate(len(self._preambles[index]))) for index in preambles]
        rows = []
        for row, grammar, shared in zip(tokens, grammars, share_prefixes(tokens, cached, cache.allocated), strict=True):
            new_tokens = row[shared.num_cached :].tolist()
            cache.allocate(len(new_tokens))  # the slots that `shared` gives them: nothing has been freed yet
            rows.append(Row(grammar, self.max_new_tokens, grammar.start, shared.slots, new_tokens))
        return rows, cache

    def _draft(self, rows: list[Row], cache: KVCache) -> None:
        for row in rows:
            row.draft = row.next_draft()
            row.draft_slots = cache.allocate(len(row.draft))

    def _forward(self, rows: list[Row], cache: KVCache) -> Tensor:
        """One pass over all new tokens and guesses.

        Returns:
            What the runner computed at the V places whose logits decide a token, row after row: each row's last known
            token, then its guesses. Shape (V, …).
        """
        return self._pass([Segment(row.new_tokens, row.slots, row.draft, row.draft_slots) for row in rows], cache)

    def _pass(self, segments: list[Segment], cache: KVCache) -> Tensor:
        device = self.model.device
        widest = max(map(len, segments))
        packed = pack(segments, device, *(self._rounding or rounding_on(device, widest)))
        with attention_kernels(device):
            return self.runner.forward(packed, cache)

    def _read(self, rows: list[Row], output: Tensor) -> Iterator[tuple[list[int], dict[int, list[float]]]]:
        """Read the logits at the V kept places, `LOGITS_CHUNK` places at a time.

        Yields:
            For each row: the arg-max token id behind each node of its draft (the root is its last known token), and
            node → log-probabilities of the tokens of the `Decision` that is made behind it.
        """
        decisions = [row.grammar.decision(state) for row in rows for state in row.draft.states]  # (V,)
        places = [place for place, decision in enumerate(decisions) if decision is not None]
        decides = torch.zeros(len(decisions), dtype=torch.bool)
        decides[places] = True
        watched = padded([decision.token_ids for decision in decisions if decision is not None], output.device)
        argmax, log_probs, done = [], [], 0
        for begin in range(0, len(output), LOGITS_CHUNK):
            logits = self.runner.logits(output[begin : begin + LOGITS_CHUNK])  # (n, vocabulary)
            argmax.append(logits.argmax(dim=1))
            here = decides[begin : begin + LOGITS_CHUNK].nonzero().flatten()  # on the host: no wait for the device
            if len(here):
                rows_here = logits.index_select(0, here.to(output.device))
                log_probs.append(log_probs_of(rows_here, watched[done : done + len(here)]))
                done += len(here)
        # Only here does the host wait for the device.
        tokens: list[int] = torch.cat(argmax).tolist()
        values = dict(zip(places, torch.cat(log_probs).tolist() if log_probs else [], strict=True))
        begin = 0
        for row in rows:
            nodes = range(len(row.draft) + 1)
            yield (
                tokens[begin : begin + len(nodes)],
                {node: values[begin + node] for node in nodes if begin + node in values},
            )
            begin += len(nodes)

    def _verify(self, row: Row, argmax: list[int], log_probs: dict[int, list[float]]) -> list[int]:
        """Take the model's tokens while guesses are right, and one more. Returns the nodes of the right guesses."""
        generation = row.generation
        generation.passes += 1
        accepted: list[int] = []
        node: int | None = ROOT
        while node is not None:
            decision = row.grammar.decision(row.state)
            if decision is not None:
                generation.log_probs[decision.name] = log_probs[node][: len(decision.token_ids)]
            token = argmax[node]
            row.take(token, self.end_token_ids)
            node = None if generation.ended else row.draft.children[node].get(token)
            if node is not None:
                accepted.append(node)
        return accepted

    def _continue(self, row: Row, accepted: list[int], cache: KVCache) -> None:
        """Keep the right guesses, free the others; the last token is left for the next pass."""
        if row.is_complete:
            row.new_tokens = []
            return
        if len(row.draft):
            row.misses = 0 if accepted else row.misses + 1
        row.unguessed = not len(row.draft)
        right = np.array(accepted, dtype=np.int64) - 1  # guess n is node n + 1: the root has its slot already
        cache.free(np.delete(row.draft_slots, right))
        row.new_tokens = row.generation.token_ids[-1:]
        row.slots = np.concatenate([row.slots, row.draft_slots[right], cache.allocate(1)])


def attention_kernels(device: torch.device) -> contextlib.AbstractContextManager[None]:
    """The kernels that attention may use on a device."""
    return sdpa_kernel(CUDA_KERNELS) if device.type == "cuda" else contextlib.nullcontext()


__getattr__ = renamed_names(__name__, "ONE_AT_A_TIME", "VerdictEngine")
