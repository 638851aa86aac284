"""Which rows share a forward pass, and what happens when memory runs out.

Rows are taken in lexicographic order, so that rows which begin alike, such as the completions of one prompt, come into
one batch and share what they have in common. A batch is full when its tokens, shared ones counted once, reach the
budget. When a batch does not fit into memory, the budget is halved and the batch is cut; after several successful
batches the budget grows again. A row is lost to an error only if it fails alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import torch

from guard_reward.scoring.memory import MIN_PASS_TOKENS, is_out_of_memory
from guard_reward.scoring.prefixes import TokenRows, as_ids, sorted_order, unique_tokens

__all__ = ["BatchRunner", "plan_batches", "plan_padded_batches"]

logger = logging.getLogger(__name__)
Result = TypeVar("Result")
GROW_AFTER = 16  # batches in a row that succeeded


def plan_batches(rows: TokenRows, token_budget: int) -> list[list[int]]:
    """Indices of `rows` in batches of at most `token_budget` tokens that differ.

    A full batch is cut, in its second half, where neighbours share least: between two groups, whose prompt would
    otherwise be computed in both batches. A row that is longer than the budget gets a batch of its own.

    >>> plan_batches([[1, 2, 3], [9, 9], [1, 2, 4]], token_budget=4)
    [[0, 2], [1]]
    """
    ids = [as_ids(row) for row in rows]
    order = sorted_order(ids)
    lengths = [len(rows[index]) for index in order]
    added = unique_tokens([ids[index] for index in order])
    batches: list[list[int]] = []
    begin = 0
    while begin < len(order):
        filled = [lengths[begin]]  # the first row of a batch shares nothing
        end = begin + 1
        while end < len(order) and filled[-1] + added[end] <= token_budget:
            filled.append(filled[-1] + added[end])
            end += 1
        if end < len(order):
            half = next(i for i in range(begin, end) if 2 * filled[i - begin] >= filled[-1])
            end = min(range(end, half, -1), key=lambda i: lengths[i] - added[i])  # of equals the last
        batches.append(order[begin:end])
        begin = end
    return batches


def plan_padded_batches(rows: TokenRows, token_budget: int) -> list[list[int]]:
    """Indices of `rows` in batches of similar length, each at most `token_budget` tokens with padding.

    A row that is longer than the budget gets a batch of its own. The longest come first: what does not fit into
    memory fails at once.

    >>> plan_padded_batches([[1] * 10, [1] * 50, [1] * 11, [1] * 100], token_budget=100)
    [[3], [1, 2], [0]]
    """
    batches: list[list[int]] = []
    width = 0
    for index in sorted(range(len(rows)), key=lambda i: (-len(rows[i]), i)):
        if batches and width * (len(batches[-1]) + 1) <= token_budget:
            batches[-1].append(index)
        else:
            batches.append([index])
            width = len(rows[index])
    return batches


@dataclass
class BatchRunner(Generic[Result]):
    """Runs a function over rows in batches that fit into memory; one bad row never fails its neighbours.

    Args:
        budget: how many tokens a batch may hold now, asked before every run; free memory changes as a trainer works.
        plan: which rows share a batch: `plan_batches`, or `plan_padded_batches` if a batch is a padded matrix.
        cuts_rows: whether a row that is longer than `token_budget` is computed in parts of that size.

    Attributes:
        ceiling: budget after the last out-of-memory error; None if there was none recently.
    """

    budget: Callable[[], int]
    plan: Callable[[TokenRows, int], list[list[int]]] = plan_batches
    cuts_rows: bool = False
    ceiling: int | None = None
    _successes: int = field(default=0, repr=False)

    @property
    def token_budget(self) -> int:
        """How many tokens a batch may hold now."""
        return self.limited(self.budget())

    def limited(self, budget: int) -> int:
        """A budget, or what is left of it since memory ran out."""
        return budget if self.ceiling is None else min(budget, self.ceiling)

    def part_tokens(self, budget: int) -> int:
        """How many tokens of a row that exceeds a budget are computed at a time.

        Short rows may have lowered the ceiling below what is worth a pass.
        """
        return max(self.limited(budget), min(budget, MIN_PASS_TOKENS))

    def run(
        self,
        rows: TokenRows,
        score: Callable[[list[int]], Sequence[Result]],
        *,
        batches: Sequence[list[int]] | None = None,
    ) -> list[Result | Exception]:
        """`score` over all rows, in the original order; a row that failed alone gets the exception as its result.

        Args:
            rows: token ids of each row.
            score: takes row indices, returns their results in the same order.
            batches: which rows to score together, planned before; by default planned now.
        """
        results: dict[int, Result | Exception] = {}
        waiting = self.plan(rows, self.token_budget) if batches is None else list(batches)
        retried: set[int] = set()
        while waiting:
            batch, *waiting = waiting
            try:
                results.update(zip(batch, score(batch), strict=True))
            except Exception as caught:
                if not is_out_of_memory(caught) and len(batch) == len(rows):
                    logger.warning("a batch of %d rows failed", len(batch), exc_info=caught)
                error = _without_frames(caught)
            else:
                self._grow()
                continue
            # Not inside `except`: there the exception would keep the failed batch's tensors alive.
            if is_out_of_memory(error) and len(batch) > 1:
                waiting = self._after_out_of_memory(rows, batch, waiting)
            elif is_out_of_memory(error) and self._may_fit(len(rows[batch[0]]), is_retried=batch[0] in retried):
                retried.add(batch[0])
                waiting = [batch, *waiting]
            elif len(batch) > 1:
                logger.warning("a batch of %d rows failed (%r); trying its halves", len(batch), error)
                waiting = [batch[: len(batch) // 2], batch[len(batch) // 2 :], *waiting]
            else:
                logger.error("a row of %d tokens could not be scored: %r", len(rows[batch[0]]), error)
                results[batch[0]] = error
        return [results[index] for index in range(len(rows))]

    def _grow(self) -> None:
        self._successes += 1
        if self.ceiling is not None and self._successes >= GROW_AFTER:
            self.ceiling = self.ceiling * 2 if self.ceiling * 2 < self.budget() else None
            self._successes = 0

    def _may_fit(self, tokens: int, *, is_retried: bool) -> bool:
        """Whether to try a single row again: once as it is, then, if it can be cut, in ever smaller parts."""
        _free_cached_memory()
        if not is_retried:
            return True  # another process may have had the memory for a moment
        part = min(self.token_budget, tokens)
        if not self.cuts_rows or part <= MIN_PASS_TOKENS:
            return False
        self.ceiling, self._successes = max(part // 2, MIN_PASS_TOKENS), 0
        logger.warning("out of memory with a row of %d tokens; it is cut into %d at a time", tokens, self.ceiling)
        return True

    def _after_out_of_memory(self, rows: TokenRows, batch: list[int], waiting: list[list[int]]) -> list[list[int]]:
        """What to run next: a new plan for all that is left, under a lower budget."""
        self._successes = 0
        left = [index for part in (batch, *waiting) for index in part]
        plan = self._smaller_batches(rows, batch, left)
        logger.warning("out of memory with %d rows in a batch; its budget is now %d tokens", len(batch), self.ceiling)
        _free_cached_memory()
        return plan

    def _smaller_batches(self, rows: TokenRows, batch: list[int], left: list[int]) -> list[list[int]]:
        """A plan for the rows that are `left`; the budget is halved until the plan cuts the `batch` that failed."""
        plan = [left]
        while any(set(batch) <= set(part) for part in plan):
            if self.ceiling == 1:  # rows that share all their tokens fit into any budget
                return [[index] for index in left]
            self.ceiling = max(self.token_budget // 2, 1)
            plan = [[left[i] for i in part] for part in self.plan([rows[index] for index in left], self.ceiling)]
        return plan


def _free_cached_memory() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _without_frames(error: Exception) -> Exception:
    """The error, and those that led to it, without their frames, which would keep the batch's tensors alive."""
    link: BaseException | None = error
    while link is not None:
        link.__traceback__, link = None, link.__cause__ or link.__context__
    return error
