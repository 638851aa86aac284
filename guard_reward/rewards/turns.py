"""Asynchronous rewards of one trainer finish in the order in which they started, on every rank alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any
from weakref import WeakKeyDictionary

__all__ = ["in_order_of_start"]

_last_started: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Future[None]] = WeakKeyDictionary()
_waiting_calls: set[asyncio.Task[None]] = set()  # the event loop itself keeps only weak references to tasks
# The turn of the reward that is calling, so that a reward inside another one does not wait for it.
_turn: ContextVar[tuple[asyncio.AbstractEventLoop, Callable[[], Any]] | None] = ContextVar("turn", default=None)


@asynccontextmanager
async def in_order_of_start(*, in_trainer: bool) -> AsyncIterator[Callable[[], Any]]:
    """Lets rewards finish in the order in which they started, which is the same on every rank.

    Finishing exchanges counts between the ranks. If two rewards of one trainer did so in different orders on different
    ranks, each rank would receive the other reward's counts.

    Yields:
        A coroutine function that waits until all rewards that started earlier have finished.
    """
    if not in_trainer:  # nothing is exchanged
        yield _no_wait
        return
    loop, outer = asyncio.get_running_loop(), _turn.get()
    if outer is not None and outer[0] is loop:  # the helpfulness of another reward: it has that reward's turn
        yield outer[1]
        return
    earlier, finished = _last_started.get(loop), loop.create_future()
    _last_started[loop] = finished

    async def turn_comes() -> None:
        if earlier is not None:
            await asyncio.shield(earlier)

    token = _turn.set((loop, turn_comes))
    try:
        yield turn_comes
    finally:
        _turn.reset(token)
        # A reward that fails early has not waited: those behind it must still wait for those before it.
        after = loop.create_task(_finish_after(earlier, finished))
        _waiting_calls.add(after)
        after.add_done_callback(_waiting_calls.discard)


async def _finish_after(earlier: asyncio.Future[None] | None, finished: asyncio.Future[None]) -> None:
    if earlier is not None:
        await earlier
    finished.set_result(None)


async def _no_wait() -> None:
    """There is nothing to wait for."""
