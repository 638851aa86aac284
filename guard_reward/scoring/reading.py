"""What a pass tells: the arg-max at each kept place, and the log-probabilities of decisions."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from guard_reward.scoring.draft import Decision
from guard_reward.scoring.transfer import to_device

if TYPE_CHECKING:
    from guard_reward.scoring.model_runner import ModelRunner

__all__ = ["LOGITS_CHUNK", "NOT_FINITE", "ReadLogits", "greedy_tokens", "log_probs_of", "padded", "read_logits"]

LOGITS_CHUNK = 256  # positions whose logits are held at once: 78 MB in bfloat16 for a vocabulary of 152k
NOT_FINITE = -1  # in the place of a token whose logits are no finite numbers


@dataclass(frozen=True, slots=True)
class ReadLogits:
    """What was read at V places.

    Attributes:
        argmax: token id at each place, or `NOT_FINITE`.
        log_probs: place → log-probabilities of the tokens of its decision, for places with one.
    """

    argmax: list[int]
    log_probs: dict[int, list[float]]

    def split(self, counts: Sequence[int]) -> Iterator[tuple[list[int], dict[int, list[float]]]]:
        """The same for runs of so many places, whose numbers begin at 0 in each."""
        begin = 0
        for count in counts:
            places = (place for place in range(begin, begin + count) if place in self.log_probs)
            yield self.argmax[begin : begin + count], {place - begin: self.log_probs[place] for place in places}
            begin += count


def read_logits(runner: ModelRunner, output: Tensor, decisions: Sequence[Decision | None]) -> ReadLogits:
    """Read the logits at V places, `LOGITS_CHUNK` places at a time. The host waits for the device once, at the end.

    Args:
        runner: turns `output` into logits.
        output: what its forward returned, shape (V, …).
        decisions: what is decided at each place.
    """
    places = [place for place, decision in enumerate(decisions) if decision is not None]
    watched = padded([decision.token_ids for decision in decisions if decision is not None], output.device)
    in_chunk = to_device(np.array(places, dtype=np.int64) % LOGITS_CHUNK, output.device)  # place within its chunk
    argmax, log_probs, done = list[Tensor](), list[Tensor](), 0
    for begin in range(0, len(output), LOGITS_CHUNK):
        logits = runner.logits(output[begin : begin + LOGITS_CHUNK])  # (n, vocabulary)
        argmax.append(greedy_tokens(logits))
        end = bisect_left(places, begin + LOGITS_CHUNK)  # of the decisions up to here
        if end > done:
            log_probs.append(log_probs_of(logits.index_select(0, in_chunk[done:end]), watched[done:end]))
            done = end
    # In one transfer: the bits of the log-probabilities go along as integers.
    bits = [part.view(torch.int32).flatten() for part in log_probs]
    found = torch.cat([*(part.int() for part in argmax), *bits]).cpu()
    tokens: list[int] = found[: len(output)].tolist()
    values = found[len(output) :].view(torch.float32).view(len(places), -1).tolist() if places else []
    return ReadLogits(tokens, dict(zip(places, values, strict=True)))


def greedy_tokens(logits: Tensor) -> Tensor:
    """The likeliest token at each place, shape (n,), or `NOT_FINITE`; from logits, shape (n, vocabulary).

    A NaN or an infinite number anywhere is the maximum, so this costs no second look at the logits. Single tokens may
    have minus infinity: a model may rule them out.

    >>> greedy_tokens(torch.tensor([[0.0, 2.0, -torch.inf], [5.0, torch.nan, 0.0]])).tolist()
    [1, -1]
    """
    most, tokens = logits.max(dim=1)
    return torch.where(most.isfinite(), tokens, NOT_FINITE)


def padded(token_ids: Sequence[Sequence[int]], device: torch.device) -> Tensor:
    """Rows of token ids as one tensor, short rows filled up with their first id."""
    width = max(map(len, token_ids), default=0)
    rows = [[*row, *[row[0]] * (width - len(row))] for row in token_ids]
    return to_device(np.array(rows, dtype=np.int64), device)


def log_probs_of(logits: Tensor, watched: Tensor) -> Tensor:
    """Log-probabilities of each row's watched tokens, shape (n, watched), from logits, shape (n, vocabulary)."""
    logits = logits.float()
    return logits.gather(1, watched) - logits.logsumexp(dim=1, keepdim=True)
