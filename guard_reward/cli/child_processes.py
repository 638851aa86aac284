"""Several servers as children of this process: they start together and stop together."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType

__all__ = ["run_together"]

_SECONDS_TO_STOP = 30.0
_SECONDS_BETWEEN_LOOKS = 0.1
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Program = tuple[Sequence[str], Mapping[str, str]]


def run_together(programs: Sequence[Program], seconds_to_stop: float = _SECONDS_TO_STOP) -> int:
    """Start programs, wait until one ends or a signal comes, and stop all of them.

    SIGINT, SIGTERM and SIGHUP are handed on to every program. Programs are asked to stop with SIGTERM, and killed, with
    what they started, if they have not stopped in time.

    Args:
        programs: arguments and environment of each.
        seconds_to_stop: that programs have to end when they are asked to.

    Returns:
        The exit status: 128 and the signal's number after a signal, otherwise that of the program that ended first.
    """
    children: list[subprocess.Popen[bytes]] = []
    with _handed_on(children) as received:
        try:
            for arguments, environment in programs:
                if not received:
                    children.append(_start(arguments, environment))
            while not received and all(child.poll() is None for child in children):
                time.sleep(_SECONDS_BETWEEN_LOOKS)
            ended = [child.returncode for child in children if child.returncode is not None]
        finally:
            _stop(children, ask=not received, seconds=seconds_to_stop)
    return 128 + received[0] if received else _status(ended)


@contextmanager
def _handed_on(children: Sequence[subprocess.Popen[bytes]]) -> Iterator[list[int]]:
    """Hand signals on to the children, which may still be added, and list them."""
    received: list[int] = []

    def hand_on(number: int, _: FrameType | None) -> None:
        received.append(number)
        for child in children:
            child.send_signal(number)  # nothing happens if the child has ended

    before = {number: signal.signal(number, hand_on) for number in _SIGNALS}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _start(arguments: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own: a terminal's Ctrl-C would reach it twice otherwise."""
    return subprocess.Popen(arguments, env=environment, stdin=subprocess.DEVNULL, start_new_session=True)


def _stop(children: Sequence[subprocess.Popen[bytes]], *, ask: bool, seconds: float) -> None:
    if ask:
        for child in children:
            child.terminate()
    deadline = time.monotonic() + seconds
    for child in children:
        try:
            child.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def _status(codes: Sequence[int]) -> int:
    """The first failure as a shell counts it, or 0.

    >>> _status([0, -9])
    137
    """
    code = next((code for code in codes if code), 0)
    return 128 - code if code < 0 else code
