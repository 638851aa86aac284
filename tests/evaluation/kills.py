"""A job in a process of its own, killed at random moments."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from random import Random


def run_with_kills(job: Callable[[], object], *, kills: int, longest: float, seed: int = 0) -> int:
    """Start the job again and again and kill it after a random time, then let it finish; how often it was killed.

    Args:
        job: leaves its work in files. It runs in a fork, so it must not use torch.
        kills: how often it is killed.
        longest: seconds until a kill.
    """
    random = Random(seed)
    killed = 0
    for _ in range(kills):
        child = _fork(job)
        time.sleep(random.uniform(0.0, longest))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        killed += os.WIFSIGNALED(status)
    job()
    return killed


def _fork(job: Callable[[], object]) -> int:
    child = os.fork()
    if child:
        return child
    try:
        job()
    finally:
        os._exit(0)
