"""Answers that have left the grammar, decoded token by token, many rows at once.

Nothing is guessed here, so nothing must be planned: each pass computes one token of every row, and its arg-max is the
next pass's token before the host has seen it. Only every few passes the host looks: it follows the grammars over the
new tokens, has the log-probabilities of decisions read, and takes out the rows that are complete. Where a grammar has
guesses again, the new tokens tell whether they would have been right. Only then the row goes back to drafts, from the
place where they begin; what it was ahead by is dropped. So tokens, passes and probabilities are the same as if every
row had been drafted wherever its grammar has guesses.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from guard_reward.scoring.dense_batch import DenseBatch, DenseRow
from guard_reward.scoring.draft import ROOT, Decision
from guard_reward.scoring.kv_cache import KVCache
from guard_reward.scoring.memory import spare_memory
from guard_reward.scoring.model_runner import ModelRunner
from guard_reward.scoring.reading import LOGITS_CHUNK, greedy_tokens, log_probs_of, padded
from guard_reward.scoring.row import Row

__all__ = ["decode_in_bulk", "portions"]

MAX_PASSES = 16  # without a look; rows that come back to the grammar waste half of them
MAX_KEPT_BYTES = 2**28  # of what a runner computes, kept until the host looks; counts where that is all logits
KEEP_ROWS_ABOVE = 0.75  # of a batch: with fewer rows left, the others' keys and values are dropped


def decode_in_bulk(
    rows: Sequence[Row], cache: KVCache, runner: ModelRunner, end_token_ids: Collection[int], device: torch.device
) -> None:
    """Decode rows until they are complete, or until their grammar has a right guess again.

    Rows of the second kind have the decoded tokens as new tokens afterwards, with slots in `cache`.

    Args:
        rows: their last known token is their only new one.
        cache: has the keys and values of all tokens before that.
        runner: runs the model.
        end_token_ids: the ids that end an answer.
        device: the model's.
    """
    before = [len(row.generation.token_ids) for row in rows]
    for portion in portions(rows, cache.bytes_per_slot, spare_memory(device)):
        dense = [DenseRow(row.slots[:-1], int(row.new_tokens[-1]), row.left) for row in portion]
        _Decoding(portion, DenseBatch(cache, dense, device), runner, end_token_ids).run()
    for row, known in zip(rows, before, strict=True):
        if row.is_complete:
            row.new_tokens = row.new_tokens[:0]
            continue
        decoded = row.generation.token_ids[known:]
        row.new_tokens = np.array([*row.new_tokens, *decoded])
        row.slots = np.concatenate([row.slots, cache.allocate(len(decoded))])


def portions(rows: Sequence[Row], bytes_per_slot: int, most_bytes: int) -> Iterator[list[Row]]:
    """Rows that are decoded together, the longest first.

    A portion's keys and values take `most_bytes` at most, or it is one row alone. Short rows are not padded to more
    than about twice their length.
    """
    portion: list[Row] = []
    for row in sorted(rows, key=lambda row: -len(row.slots)):
        longest = len((portion or [row])[0].slots)
        width = longest + max(one.left for one in [*portion, row])
        fits = (len(portion) + 1) * width * bytes_per_slot <= most_bytes
        if portion and not (fits and longest <= 2 * len(row.slots) + 256):
            yield portion
            portion = []
        portion.append(row)
    if portion:
        yield portion


@dataclass(slots=True)
class _Place:
    """A decision that the host has found."""

    row: Row
    decision: Decision
    output: int  # place in the outputs of all passes since the last look


class _Decoding:
    """Some rows on their way."""

    def __init__(self, rows: Sequence[Row], batch: DenseBatch, runner: ModelRunner, end_token_ids: Collection[int]):
        self._rows = dict(enumerate(rows))  # place in the batch → row, those that are still decoded
        self._batch = batch
        self._runner = runner
        self._end_token_ids = end_token_ids

    def run(self) -> None:
        passes = 2
        while self._rows:
            outputs, tokens = self._passes(min(passes, max(row.left for row in self._rows.values())))
            self._look(outputs, torch.stack(tokens).tolist())
            passes = min(2 * passes, MAX_PASSES)

    def _passes(self, most: int) -> tuple[list[Tensor], list[Tensor]]:
        """Some passes without a look: what the runner computed in each, shape (rows, …), and the tokens, (rows,)."""
        outputs: list[Tensor] = []
        tokens: list[Tensor] = []
        while len(tokens) < most and sum(output.nbytes for output in outputs) <= MAX_KEPT_BYTES:
            outputs.append(self._runner.forward(self._batch.next_pass(), self._batch))
            parts = outputs[-1].split(LOGITS_CHUNK)
            tokens.append(torch.cat([greedy_tokens(self._runner.logits(part)) for part in parts]))
            self._batch.advance(tokens[-1].clamp(min=0))  # a row whose logits are not finite is taken out at the look
        return outputs, tokens

    def _look(self, outputs: list[Tensor], tokens: list[list[int]]) -> None:
        """Let the rows take their tokens, of shape (passes, rows), and drop the rows that are done here."""
        decisions: list[_Place] = []
        for place, row in list(self._rows.items()):
            for number, of_pass in enumerate(tokens):
                draft = row.next_draft()
                if of_pass[place] in draft.children[ROOT]:
                    del self._rows[place]
                    break
                row.misses += bool(len(draft))
                decision = row.grammar.decision(row.state)
                if decision is not None:
                    decisions.append(_Place(row, decision, number * len(self._batch) + place))
                row.generation.passes += 1
                row.take(of_pass[place], self._end_token_ids)
                if row.is_complete:
                    del self._rows[place]
                    break
        if decisions:
            self._read(torch.cat(outputs), decisions)
        if 0 < len(self._rows) <= KEEP_ROWS_ABOVE * len(self._batch):
            self._batch.keep(list(self._rows))
            self._rows = dict(enumerate(self._rows.values()))

    def _read(self, output: Tensor, decisions: list[_Place]) -> None:
        """Give the rows the log-probabilities of their decisions; of several with one name the last counts."""
        for begin in range(0, len(decisions), LOGITS_CHUNK):
            chunk = decisions[begin : begin + LOGITS_CHUNK]
            places = torch.tensor([one.output for one in chunk], device=output.device)
            watched = padded([one.decision.token_ids for one in chunk], output.device)
            found = log_probs_of(self._runner.logits(output.index_select(0, places)), watched).tolist()
            for one, values in zip(chunk, found, strict=True):
                one.row.generation.log_probs[one.decision.name] = values[: len(one.decision.token_ids)]
