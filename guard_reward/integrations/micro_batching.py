"""Requests that coroutines make one by one, answered batch by batch in a thread. Knows neither guards nor tools."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread

__all__ = ["MicroBatches"]


@dataclass(slots=True, eq=False)
class _Entry:
    request: Any
    is_done: bool = False
    answer: Any = None
    error: Exception | None = None


@dataclass(slots=True, eq=False)
class _Queue:
    """What waits in one event loop; whoever holds the lock answers the next batch, for itself and for others."""

    waiting: deque[_Entry] = field(default_factory=deque)
    turn: anyio.Lock = field(default_factory=anyio.Lock)


class MicroBatches:
    """Answers requests in batches: of what waits when the batch before has ended.

    It may be awaited in several event loops, one after the other or in several threads; each has a queue of its own.
    If a request is cancelled whose coroutine was answering a batch, the others of the batch are asked again.

    Args:
        answer: requests → as many answers, in the same order; it is called in a thread.
        size: of the largest batch.
        wait: seconds in which a batch that is not full waits for more.
        deadline: seconds that a batch may take; None for no limit. The thread of a late batch is left alone.

    >>> squares = MicroBatches(lambda numbers: [number**2 for number in numbers])
    >>> anyio.run(squares, 3)
    9
    """

    def __init__(
        self,
        answer: Callable[[Sequence[Any]], Sequence[Any]],
        *,
        size: int = 64,
        wait: float = 0.05,
        deadline: float | None = None,
    ):
        self._answer, self._size, self._wait, self._deadline = answer, size, wait, deadline
        self._queue = anyio.lowlevel.RunVar[_Queue]("queue")

    async def __call__(self, request: Any) -> Any:
        """The answer to one request.

        Raises:
            TimeoutError: its batch took longer than the deadline.
            Exception: what `answer` raised for the batch.
        """
        queue, entry = self._queue_of_this_loop(), _Entry(request)
        queue.waiting.append(entry)
        try:
            while not entry.is_done:
                async with queue.turn:
                    if not entry.is_done:
                        await self._answer_next(queue.waiting)
        finally:
            if not entry.is_done:  # cancelled: nobody waits for it, and if it is in a batch, it is not asked again
                entry.is_done = True
                if entry in queue.waiting:
                    queue.waiting.remove(entry)
        if entry.error is not None:
            raise entry.error
        return entry.answer

    def _queue_of_this_loop(self) -> _Queue:
        queue = self._queue.get(None)
        if queue is None:
            queue = _Queue()
            self._queue.set(queue)
        return queue

    async def _answer_next(self, waiting: deque[_Entry]) -> None:
        if len(waiting) < self._size:
            await anyio.sleep(self._wait)
        batch = [waiting.popleft() for _ in range(min(self._size, len(waiting)))]
        try:
            with anyio.move_on_after(self._deadline) as scope:
                requests = [entry.request for entry in batch]
                answers = await anyio.to_thread.run_sync(self._answer, requests, abandon_on_cancel=True)
                for entry, answer in zip(batch, answers, strict=True):
                    entry.answer, entry.is_done = answer, True
            if scope.cancelled_caught:
                raise TimeoutError(f"no answer within {self._deadline:g} seconds")
        except Exception as error:
            for entry in batch:
                entry.error, entry.is_done = error, True
        finally:
            waiting.extendleft(entry for entry in reversed(batch) if not entry.is_done)
