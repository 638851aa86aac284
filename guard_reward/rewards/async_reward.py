"""`AsyncGuardReward`: the same rewards, awaited, so that other rewards run while the guard judges.

    trainer = GRPOTrainer(..., reward_funcs=[AsyncGuardReward("Qwen/Qwen3Guard-Gen-4B"), my_async_reward])

TRL runs its asynchronous reward functions concurrently in one event loop. It decides per class whether a reward is
asynchronous, so this is a second class.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

from guard_reward.rewards.base import BaseGuardReward, answers
from guard_reward.rewards.batch import Batch, Call, search
from guard_reward.rewards.behaviour import Shown
from guard_reward.rewards.functions import is_asynchronous
from guard_reward.rewards.helpfulness import finite_numbers, no_numbers
from guard_reward.rewards.judge import RolloutVerdicts
from guard_reward.rewards.reward_model import scores_conversations
from guard_reward.rewards.slow_calls import said_if_slow
from guard_reward.rewards.turns import in_order_of_start

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
        /,  # so that a column of the dataset may be called self
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
        async with in_order_of_start(in_trainer=trainer_state is not None) as turn:
            batch = self._prepare(call)
            (verdicts, usage, seconds), helpfulness = await asyncio.gather(
                self._ask_guard(batch), self._score_helpfulness(call, batch)
            )
            shown = await self._look(call, batch, verdicts, helpfulness)
            if self._eval_judge is not None:
                await asyncio.to_thread(self._eval_judge, call)
                await self._put_to_sleep_in_a_thread(self.eval_judge)
            await turn()
            finished = self._finished(call, batch, verdicts, helpfulness, shown, usage=usage, seconds=seconds)
            if self._observers:  # in a thread: an observer may ask another guard, and other rewards go on
                await asyncio.to_thread(self._show, call, batch, finished)
            return self._conclude(call, finished)

    async def _ask_guard(self, batch: Batch) -> tuple[list[RolloutVerdicts], Any, float]:
        started = time.perf_counter()
        verdicts, usage = await self._judge.judge_async(batch.requests)
        for guard in self._guards:
            await self._put_to_sleep_in_a_thread(guard)
        return verdicts, usage, time.perf_counter() - started

    async def _look(
        self,
        call: Call,
        batch: Batch,
        verdicts: Sequence[RolloutVerdicts],
        helpfulness: Sequence[float | None],
    ) -> list[Shown]:
        """How far the answers show what the scheme looks for."""
        wanted = self._wanted(batch, verdicts, helpfulness)
        if self._rubric is not None:
            return await self._rubric.judge_async(call, batch, wanted)
        return await asyncio.to_thread(search, batch, wanted) if any(wanted) else [{} for _ in wanted]

    async def _score_helpfulness(self, call: Call, batch: Batch) -> list[float | None]:
        rows = len(batch.rollouts)
        helpfulness: Any = self.helpfulness
        if helpfulness is None:
            return [None] * rows
        try:
            with said_if_slow("the helpfulness function", rows):
                if scores_conversations(helpfulness, thinking_prefilled=self.thinking_prefilled):
                    values: Any = await asyncio.to_thread(helpfulness.score, answers(batch))
                elif is_asynchronous(helpfulness):
                    values = await helpfulness(**call.arguments())
                else:
                    values = await asyncio.to_thread(lambda: helpfulness(**call.arguments()))
        except Exception as error:  # as in GuardReward
            return no_numbers(error, rows)
        finally:
            await self._put_to_sleep_in_a_thread(helpfulness)
        return finite_numbers(values, rows)

    async def _put_to_sleep_in_a_thread(self, model: Any) -> None:
        """Not in the event loop: it waits until no other call uses the model."""
        if self._sleep:
            await asyncio.to_thread(self._put_to_sleep, model)
