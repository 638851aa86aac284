"""Trying again, until the deadline of the call."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from guard_reward.guards.served.failures import Rejected, RequestFailed, Retriable
from guard_reward.guards.served.replicas import LONGEST_REST, Replica, Replicas
from guard_reward.verdict import Outcome

if TYPE_CHECKING:
    from tenacity import RetryCallState

__all__ = ["Deadline", "answer_of"]

Value = TypeVar("Value")
FIRST_WAIT, LONGEST_WAIT = 0.25, 8.0  # seconds between two tries: a random part of the first, doubled each time
REFUSED_REST = 30.0  # seconds for which a replica with a wrong key or model is left out


class Deadline:
    """The end of a call.

    Args:
        seconds: from now.
    """

    def __init__(self, seconds: float):
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds; 0 if it has passed."""
        return max(self._end - time.monotonic(), 0.0)

    def missed(self, last: RequestFailed | None) -> RequestFailed:
        """What a request fails with that it has cut off, or that cannot be tried again before it.

        Args:
            last: why the last try failed, if there was one. If that was no timeout, it says how the row ends.
        """
        if last is None:
            return RequestFailed(f"no answer within the call's {self.seconds:g} seconds", Outcome.TIMEOUT)
        return RequestFailed(f"{last.reason} (tried until the call's {self.seconds:g} seconds were over)", last.outcome)


async def answer_of(
    replicas: Replicas,
    key: bytes,
    ask: Callable[[Replica], Awaitable[Value]],
    deadline: Deadline,
    *,
    is_probe: bool = False,
) -> Value:
    """What the first replica answers that does.

    Args:
        replicas: to choose from.
        key: of the prompt; see `Replicas.choose`.
        ask: sends the request to one of them.
        deadline: of the call.
        is_probe: whether it is asked what the servers understand: an unknown path is then no fault of one of them.

    Raises:
        RequestFailed: no replica has answered before the deadline, or it was rejected.
    """
    from tenacity import AsyncRetrying, retry_if_exception_type, stop_before_delay, wait_random_exponential

    last: RequestFailed | None = None

    async def attempt() -> Value:
        nonlocal last
        replica = replicas.choose(key)
        if replica.rest:
            last = last or replica.fault
            wait = replica.wait(deadline.left)
            if wait is None:
                raise deadline.missed(last)
            await asyncio.sleep(wait)
        try:
            return await _asked(replicas, replica, ask, is_probe=is_probe)
        except RequestFailed as failure:
            if last is None or deadline.left:  # a try that the deadline has cut off does not say what is wrong
                last = failure
            raise

    random_wait = wait_random_exponential(multiplier=FIRST_WAIT, max=LONGEST_WAIT)

    def wait(state: RetryCallState) -> float:
        # Never the whole time that is left: a call gives up only when less than the first wait is.
        own = min(random_wait(state), max(deadline.left / 2, FIRST_WAIT))
        return max(own, _wish(state))

    retrying = AsyncRetrying(
        retry=retry_if_exception_type(Retriable),
        wait=wait,
        stop=stop_before_delay(deadline.left),
        reraise=True,
    )
    try:
        async with asyncio.timeout(deadline.left):
            return await retrying(attempt)
    except (TimeoutError, Retriable) as error:
        raise deadline.missed(last) from error


def _wish(state: RetryCallState) -> float:
    """Seconds that the server asked the last request to wait; 0 if it did not, or if another replica may be asked."""
    failure = state.outcome.exception() if state.outcome is not None else None
    return failure.retry_after or 0.0 if isinstance(failure, Retriable) else 0.0


async def _asked(
    replicas: Replicas, replica: Replica, ask: Callable[[Replica], Awaitable[Value]], *, is_probe: bool
) -> Value:
    """One try; remembers how it went."""
    replica.requests += 1
    started = time.monotonic()
    try:
        answer = await ask(replica)
    except Retriable as failure:
        if failure.is_busy:
            replica.leave_out(min(failure.retry_after or 0.0, LONGEST_REST), failure)
        else:
            replica.has_failed(failure, started)
        if replicas.has_another(replica):
            failure.retry_after = None  # which need not be waited for
        raise
    except Rejected as failure:
        if not failure.concerns_server or (is_probe and failure.status in (404, 405)):
            replica.succeeded()
            raise
        replica.failed += 1
        if replicas.has_another(replica):  # with the right key and model, perhaps
            replica.leave_out(REFUSED_REST, failure)
            raise Retriable(failure.reason) from failure
        raise
    replica.succeeded()
    return answer
