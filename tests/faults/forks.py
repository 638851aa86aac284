"""A job in a fork of this process, which is killed at a file operation or inside a write, or finds the disk full."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path

from benchmarks.kill_parts.blows import Blow, arm

__all__ = ["operations_of", "was_killed", "with_longest_file"]


def was_killed(job: Callable[[], object], folder: Path, blow: Blow) -> bool:
    """Run a job that dies of the blow; False if it ends before.

    Args:
        job: must not use torch.
        folder: of its output.
        blow: of the kind ``operation`` or ``write``.
    """

    def armed() -> None:
        arm(blow, folder)
        job()

    status = _status(armed)
    assert status in (0, -signal.SIGKILL, -signal.SIGXFSZ), f"it failed with {status}"
    return status < 0


def operations_of(job: Callable[[], object], folder: Path) -> int:
    """How many file operations a job makes in `folder`."""
    read, write = os.pipe()

    def counted() -> None:
        count = arm(None, folder)
        job()
        os.write(write, str(count()).encode())

    assert _status(counted) == 0
    os.close(write)
    with os.fdopen(read) as pipe:
        return int(pipe.read())


def with_longest_file(job: Callable[[], object], size: int) -> int:
    """Run a job that can make no file longer than `size` bytes, as if the disk were full then; its exit status."""

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        job()

    return _status(limited)


def _status(job: Callable[[], object]) -> int:
    """The job's exit status in a fork: 1 after an exception, below 0 a signal."""
    child = os.fork()
    if not child:
        status = 1
        try:
            job()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
