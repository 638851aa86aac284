"""`AsyncGuardReward`: the same rewards, awaited, so that other rewards run while the guard judges.

    trainer = GRPOTrainer(..., reward_funcs=[AsyncGuardReward("Qwen/Qwen3Guard-Gen-4B"), my_async_reward])

TRL runs its asynchronous reward functions concurrently in one event loop. It decides per class whether a reward is
asynchronous, so this is a second class.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from weakref import WeakKeyDictionary

from guard_reward.rewards.base import BaseGuardReward, answers
from guard_reward.rewards.batch import Batch, Call, prepare
from guard_reward.rewards.judge import RolloutVerdicts
from guard_reward.rewards.reward_model import ScoresConversations

__all__ = ["AsyncGuardReward"]


class AsyncGuardReward(BaseGuardReward):
    """`guard_reward.GuardReward` as a coroutine function; the same arguments, rewards, metrics and columns.

    A guard with ``amoderate`` is awaited. Any other guard judges in a thread, one batch at a time for a local guard.
    Guard and helpfulness are asked at the same time. Any number of calls may run at a time.

    Example:
        >>> reward = AsyncGuardReward("Qwen/Qwen3Guard-Gen-0.6B")               # doctest: +SKIP
        >>> await reward(prompts=["How do I pick a lock?"], completions=["…"])  # doctest: +SKIP
    """

    async def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        completion_ids: Sequence[Sequence[int]] | None = None,
        trainer_state: Any = None,
        log_extra: Callable[[str, list[Any]], None] | None = None,
        log_metric: Callable[[str, float], None] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """Rewards of a batch of rollouts; see `guard_reward.GuardReward.__call__`."""
        call = Call(prompts, completions, completion_ids, trainer_state, log_extra, log_metric, columns)
        # Taken before the first await, so in the order in which the trainer starts its rewards.
        async with _in_order_of_start(in_trainer=trainer_state is not None) as turn:
            batch = prepare(call, self._rules)
            (verdicts, usage, seconds), helpfulness = await asyncio.gather(
                self._ask_guard(batch), self._score_helpfulness(call, batch)
            )
            await turn()
            return self._finish(call, batch, verdicts, helpfulness, usage=usage, seconds=seconds)

    async def _ask_guard(self, batch: Batch) -> tuple[list[RolloutVerdicts], Any, float]:
        started = time.perf_counter()
        verdicts, usage = await self._judge.judge_async(batch.requests)
        self._put_to_sleep(self.guard)
        return verdicts, usage, time.perf_counter() - started

    async def _score_helpfulness(self, call: Call, batch: Batch) -> list[float | None]:
        rows = len(batch.rollouts)
        helpfulness: Any = self.helpfulness
        if helpfulness is None:
            return [None] * rows
        if isinstance(helpfulness, ScoresConversations):
            values: Any = await asyncio.to_thread(helpfulness.score, answers(batch))
        elif inspect.iscoroutinefunction(helpfulness) or inspect.iscoroutinefunction(type(helpfulness).__call__):
            values = await helpfulness(**call.arguments())
        else:
            values = await asyncio.to_thread(lambda: list(helpfulness(**call.arguments())))
        self._put_to_sleep(helpfulness)
        return self._checked_helpfulness(list(values), rows)


_last_started: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Event] = WeakKeyDictionary()


@asynccontextmanager
async def _in_order_of_start(*, in_trainer: bool) -> AsyncIterator[Callable[[], Any]]:
    """Lets rewards finish in the order in which they started, which is the same on every rank.

    Finishing exchanges counts between the ranks. If two rewards of one trainer did so in different orders on different
    ranks, each rank would receive the other reward's counts.

    Yields:
        A coroutine function that waits until all rewards that started earlier have finished.
    """
    if not in_trainer:  # nothing is exchanged
        yield _no_wait
        return
    loop = asyncio.get_running_loop()
    earlier, finished = _last_started.get(loop), asyncio.Event()
    _last_started[loop] = finished
    try:
        yield earlier.wait if earlier is not None else _no_wait
    finally:
        finished.set()


async def _no_wait() -> None:
    """There is nothing to wait for."""
