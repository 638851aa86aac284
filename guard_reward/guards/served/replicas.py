"""Which of several servers a request goes to: the requests of one prompt to one of them, as long as it answers."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from guard_reward.guards.served.failures import Rejected, RequestFailed, Retriable

__all__ = ["Replica", "Replicas"]

logger = logging.getLogger(__name__)
FAILURES_BEFORE_REST = 3  # in a row
FIRST_REST, LONGEST_REST = 0.5, 10.0  # seconds; doubled each time


@dataclass(slots=True)
class Replica:
    """One server.

    Attributes:
        url: such as ``http://127.0.0.1:8000/v1``.
        failures: how many requests failed since the last one that did not.
        left_out_at, rests_until: since when and until when it is left out, by ``time.monotonic()``.
        fault: why it is left out.
        requests, failed: counts since the beginning.
    """

    url: str
    failures: int = 0
    left_out_at: float = 0.0
    rests_until: float = 0.0
    fault: RequestFailed | None = None
    requests: int = 0
    failed: int = 0

    @property
    def rest(self) -> float:
        """Seconds for which it is still left out."""
        return max(self.rests_until - time.monotonic(), 0.0)

    def wait(self, seconds_left: float) -> float | None:
        """Seconds to wait before a request to it, if no other replica is there; None if waiting would be in vain.

        Args:
            seconds_left: until the call's deadline. A replica that rests longer is asked before its rest ends, for the
                rest is only a guess; unless it has asked to be left alone so long.
        """
        rest = self.rest
        if not rest or isinstance(self.fault, Rejected):  # a key or model may have been mended, and asking is cheap
            return 0.0
        if rest < seconds_left:
            return rest
        is_busy = isinstance(self.fault, Retriable) and self.fault.is_busy
        return None if is_busy else seconds_left / 2

    def succeeded(self) -> None:
        """It has answered."""
        if self.failures >= FAILURES_BEFORE_REST:
            logger.warning("%s answers again", self.url)
        self.failures, self.rests_until = 0, 0.0

    def has_failed(self, failure: RequestFailed, started: float) -> None:
        """It has not answered. After a few times in a row it is left out, each time longer, then tried again.

        Args:
            failure: of a request.
            started: when the request was sent. Of many that were under way when it was left out, none counts again.
        """
        self.failed += 1
        if started < self.left_out_at:
            return
        self.failures += 1
        if self.failures < FAILURES_BEFORE_REST:
            return
        if self.failures == FAILURES_BEFORE_REST:
            logger.warning("%s is left out until it answers again: %s", self.url, failure)
        doublings = min(self.failures - FAILURES_BEFORE_REST, 16)
        self.leave_out(min(FIRST_REST * 2**doublings, LONGEST_REST), failure)

    def leave_out(self, seconds: float, failure: RequestFailed) -> None:
        """Ask it nothing for so long."""
        self.fault = failure
        self.left_out_at = time.monotonic()
        self.rests_until = max(self.rests_until, time.monotonic() + seconds)


class Replicas:
    """All servers of one guard, which answer alike.

    Args:
        urls: of the servers.
    """

    def __init__(self, urls: Sequence[str]):
        self.all = [Replica(url) for url in urls]

    def choose(self, key: bytes) -> Replica:
        """The replica for a request; one that rests only if all do, and then the one whose rest ends first.

        Rendezvous hashing: every process ranks the replicas alike for a key, and without the first in rank only its
        own keys move, each to the next in its rank.

        Args:
            key: the same for requests with the same prompt, so that the replica's prefix cache has it.
        """
        ranked = sorted(self.all, key=lambda replica: hashlib.blake2b(key + replica.url.encode()).digest())
        return min(ranked, key=lambda replica: replica.rest)

    def has_another(self, replica: Replica) -> bool:
        """Whether there is a further one that is not left out."""
        return any(other is not replica and not other.rest for other in self.all)
