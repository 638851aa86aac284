"""Some inputs of one target in one process: each is checked, timed and limited."""

from __future__ import annotations

import faulthandler
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.soak.target import Target

__all__ = ["DEADLINE", "Failure", "Tally", "run_chunk"]

DEADLINE = 2.0
"""Seconds of processor time for one input: more is a denial of service, whatever the result."""

_STUCK = 300.0  # seconds for a whole chunk, beyond any deadline: something does not return to Python
_KEPT = 5  # different failures of a target that are kept


class _TooSlow(BaseException):
    """Not an `Exception`: the code under test catches those."""


@dataclass(frozen=True)
class Failure:
    """One kind of broken promise, and the first input that broke it."""

    index: int
    place: str
    error: str
    input: str
    trace: str


@dataclass
class Tally:
    """What became of a target's inputs.

    Attributes:
        inputs: how many were checked.
        seconds: processor time, for making and checking them.
        failed: how many broke the promise.
        failures: the first of each kind.
        slowest: processor seconds of the slowest one, and its index.
    """

    inputs: int = 0
    seconds: float = 0.0
    failed: int = 0
    failures: list[Failure] = field(default_factory=list)
    slowest: tuple[float, int] = (0.0, -1)

    def add(self, other: Tally) -> None:
        """Count another chunk of the same target."""
        self.inputs += other.inputs
        self.seconds += other.seconds
        self.failed += other.failed
        self.slowest = max(self.slowest, other.slowest)
        for failure in other.failures:
            self._keep(failure)

    def fail(self, failure: Failure) -> None:
        """Count a broken promise."""
        self.failed += 1
        self._keep(failure)

    def _keep(self, failure: Failure) -> None:
        if len(self.failures) < _KEPT and failure.place not in [kept.place for kept in self.failures]:
            self.failures.append(failure)


def run_chunk(
    target: Target, seed: int, indices: range, *, stop_at: float | None = None, deadline: float = DEADLINE
) -> Tally:
    """Check these inputs of a target, up to `stop_at` (of `time.time`).

    A process that is stuck in code that never returns to Python writes its traceback and ends.
    """
    tally = Tally()
    faulthandler.dump_traceback_later(_STUCK, exit=True, file=sys.__stderr__)
    began = time.process_time()
    try:
        for index in indices:
            if stop_at is not None and time.time() >= stop_at:
                break
            _run(target, seed, index, tally, deadline)
    finally:
        faulthandler.cancel_dump_traceback_later()
    tally.seconds = time.process_time() - began
    return tally


def _run(target: Target, seed: int, index: int, tally: Tally, deadline: float) -> None:
    value: Any = None
    began = time.process_time()
    try:
        with _limited(deadline):
            value = target.input(seed, index)
            target.check(value)
    except (Exception, _TooSlow) as error:
        tally.fail(_failure(error, index, value, deadline))
    tally.inputs += 1
    tally.slowest = max(tally.slowest, (time.process_time() - began, index))


def _failure(error: BaseException, index: int, value: Any, deadline: float) -> Failure:
    frames = traceback.extract_tb(error.__traceback__)
    slow = isinstance(error, _TooSlow)
    last = next((frame for frame in reversed(frames) if frame.name != "require"), frames[-1])
    text = f"slower than {deadline} s" if slow else f"{type(error).__name__}: {error}"
    return Failure(
        index=index,
        place="slow" if slow else f"{type(error).__name__} in {last.name}, line {last.lineno}",
        error=text[:600].encode("ascii", "backslashreplace").decode(),
        input=ascii(value)[:2000],
        trace="".join(traceback.format_tb(error.__traceback__)[-6:]),
    )


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Interrupt the block after so many seconds of this process's processor time."""

    def interrupt(*_: object) -> None:
        raise _TooSlow

    before = signal.signal(signal.SIGPROF, interrupt)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
