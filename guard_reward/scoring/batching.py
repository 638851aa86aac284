"""Which rows share a forward pass, and what happens when memory runs out.

Rows are sorted by length, so that little is padded, and packed under a budget of padded tokens. When a batch does not
fit into memory the budget is halved, for good, and the batch is cut in two: a row is lost to an error only if it
fails alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch

__all__ = ["BatchRunner", "plan_batches"]

logger = logging.getLogger(__name__)
Result = TypeVar("Result")


def plan_batches(lengths: Sequence[int], token_budget: int) -> list[list[int]]:
    """Indices of `lengths` in batches of similar length, each at most `token_budget` tokens with padding.

    A row that is longer than the budget gets a batch of its own. The longest come first: what does not fit into
    memory fails at once.

    >>> plan_batches([10, 50, 11, 100], token_budget=100)
    [[3], [1, 2], [0]]
    """
    batches: list[list[int]] = []
    width = 0
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if batches and width * (len(batches[-1]) + 1) <= token_budget:
            batches[-1].append(index)
        else:
            batches.append([index])
            width = lengths[index]
    return batches


@dataclass
class BatchRunner(Generic[Result]):
    """Runs a function over rows in batches that fit into memory; one bad row never fails its neighbours.

    Args:
        token_budget: padded tokens of one batch; halved whenever memory runs out, down to one row a batch.
    """

    token_budget: int

    def run(self, lengths: Sequence[int], score: Callable[[list[int]], Sequence[Result]]) -> list[Result | Exception]:
        """`score` over all rows; in the original order, with the exception in the place of a row that failed alone.

        Args:
            lengths: tokens of each row.
            score: takes row indices, returns their results in the same order.
        """
        results: dict[int, Result | Exception] = {}
        waiting = plan_batches(lengths, self.token_budget)
        while waiting:
            batch = waiting.pop(0)
            error = None
            try:
                results.update(zip(batch, score(batch), strict=True))
            except Exception as caught:
                error = caught.with_traceback(None)  # its frames would keep the batch's tensors alive
            if error is None:
                continue
            if len(batch) == 1:
                logger.error("a row of %d tokens could not be scored: %r", lengths[batch[0]], error)
                results[batch[0]] = error
            elif _is_out_of_memory(error):
                self._halve(len(batch) * lengths[batch[0]])
                rest = [index for part in (batch, *waiting) for index in part]
                replanned = plan_batches([lengths[index] for index in rest], self.token_budget)
                waiting = [[rest[i] for i in part] for part in replanned]
            else:
                logger.warning("a batch of %d rows failed (%r); trying its halves", len(batch), error)
                waiting = [batch[: len(batch) // 2], batch[len(batch) // 2 :], *waiting]
        return [results[index] for index in range(len(lengths))]

    def _halve(self, tokens: int) -> None:
        self.token_budget = max(min(self.token_budget, tokens) // 2, 1)
        logger.warning("out of memory with %d tokens in a batch; the budget is now %d", tokens, self.token_budget)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _is_out_of_memory(error: Exception) -> bool:
    """CUDA has a class of its own for it; the CPU allocator only a message."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
