"""A lock that a forked process can take, although a thread of its parent held it."""

from __future__ import annotations

import os
import threading
from types import TracebackType

__all__ = ["ForkSafeLock"]


class ForkSafeLock:
    """A re-entrant lock for ``with``, for as long as the process lives.

    A fork copies a lock as it is, but of the threads only the one that forks. What another thread held would stay
    locked in the child for ever, so the child makes a new lock. What the forking thread holds, it goes on holding.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
            os.register_at_fork(after_in_child=self._renew)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._lock.release()

    def _renew(self) -> None:
        if self._lock.acquire(blocking=False):  # free, or this thread's own
            self._lock.release()
        else:
            self._lock = threading.RLock()
