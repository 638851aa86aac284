"""One event loop for all guards of this process that wait for servers, in a thread of its own.

Calls come from everywhere: from a trainer's thread, from several threads, from event loops that end. Connections belong
to one event loop; in this one they outlive the calls.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from guard_reward._fork_safe_lock import ForkSafeLock

__all__ = ["loop", "start"]

Value = TypeVar("Value")
_LOCK = ForkSafeLock()
_loops: dict[int, asyncio.AbstractEventLoop] = {}  # by process: a forked one has this dict, but not the thread


def start(coroutine: Coroutine[Any, Any, Value]) -> Future[Value]:
    """Run a coroutine in the loop. Cancelling the future cancels it."""
    return asyncio.run_coroutine_threadsafe(coroutine, loop())


def loop() -> asyncio.AbstractEventLoop:
    """This process's loop."""
    with _LOCK:
        if os.getpid() not in _loops:
            made = asyncio.new_event_loop()
            # A daemon, so that a process can end while a server lets it wait.
            threading.Thread(target=made.run_forever, name="guard_reward_served", daemon=True).start()
            _loops[os.getpid()] = made
        return _loops[os.getpid()]
