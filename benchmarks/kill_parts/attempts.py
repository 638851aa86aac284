"""One start of a command, which is killed or ends by itself."""

from __future__ import annotations

import json
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import psutil

from benchmarks.kill_parts.blows import Blow, arm

__all__ = ["Attempt", "attempt", "load"]

_DEADLINE = 600.0  # seconds; a run that takes longer hangs
_POLL = 0.01  # seconds
_HEAVY = frozenset(
    [
        "accelerate",
        "datasets",
        "guard_reward",
        "numpy",
        "pandas",
        "pyarrow",
        "safetensors",
        "scipy",
        "sklearn",
        "tokenizers",
        "torch",
        "transformers",
        "trl",
    ]
)
_KILLED = {-signal.SIGKILL, -signal.SIGXFSZ, 128 + signal.SIGKILL}


@dataclass(frozen=True)
class Attempt:
    """How a start has ended.

    Attributes:
        status: the exit status; below 0 a signal.
        seconds: from the start to the end.
        worked: of these, the seconds behind the first progress.
        said: what it has printed.
        operations: on files of the output; 0 if it was killed or is not a fork.
        modules: that it has imported; none if it was killed or is not a fork.
        size: bytes of the longest file of the output that was ever there.
    """

    status: int
    seconds: float
    worked: float
    said: str
    operations: int = 0
    modules: tuple[str, ...] = ()
    size: int = 0

    @property
    def was_killed(self) -> bool:
        """Whether the blow has hit it."""
        return self.status in _KILLED


def attempt(
    command: Sequence[str], folder: Path, blow: Blow | None, begun: Callable[[], bool], *, launched: bool = False
) -> Attempt:
    """Start a command, kill it or let it end, with all processes that it has started.

    Args:
        command: ``guard-reward`` or a script, and its arguments. It runs in a fork, which has the libraries loaded.
        folder: where its output goes.
        blow: how it is killed; None to let it end.
        begun: whether there is progress.
        launched: it is a whole command line, and runs as a process of its own.
    """
    log = folder.with_name(f"{folder.name}.said")
    start = time.perf_counter()
    child = _launch(command, log) if launched else _fork(command, folder, blow, log)
    first, status, size = start, None, 0
    try:
        while status is None:
            if first == start and begun():
                first = time.perf_counter()
            now = time.perf_counter()
            is_due = blow is not None and blow.kind == "moment" and first > start and now - first >= blow.at
            if is_due or now - start > _DEADLINE:
                _kill_all(child)
            if blow is None:
                size = max(size, _longest(folder))
            status = _ended(child)
            time.sleep(_POLL)
    finally:
        if status is None:  # this process is stopped; a number that has ended may be somebody else's
            _kill_all(child)
    end = time.perf_counter()
    said = log.read_text(encoding="utf-8", errors="replace")
    report = log.with_suffix(".report")
    operations, modules = json.loads(report.read_text()) if report.exists() else (0, ())
    report.unlink(missing_ok=True)
    return Attempt(status, end - start, end - first, said, operations, tuple(modules), size)


def load(modules: Iterable[str]) -> None:
    """Import what a run has imported, so that the forks to come need not."""
    for name in modules:
        if name.partition(".")[0] in _HEAVY:
            try:
                import_module(name)
            except ImportError:  # made by hand, not a file
                continue


def _longest(folder: Path) -> int:
    """Bytes of the longest file that is there now."""
    longest = 0
    with suppress(FileNotFoundError):  # something was renamed or removed since
        for path in folder.rglob("*"):
            longest = max(longest, path.stat().st_size)
    return longest


def _fork(command: Sequence[str], folder: Path, blow: Blow | None, log: Path) -> int:
    child = os.fork()
    if child:
        return child
    os.setsid()
    with log.open("w") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    status = 70
    try:
        operations = arm(blow, folder)
        status = _run(command)
        log.with_suffix(".report").write_text(json.dumps([operations(), sorted(sys.modules)]))
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _run(command: Sequence[str]) -> int:
    """The command in this process; its exit status."""
    sys.argv = list(command)
    try:
        if command[0] == "guard-reward":
            from guard_reward.cli import app

            app()
        else:
            runpy.run_path(command[0], run_name="__main__")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _launch(command: Sequence[str], log: Path) -> int:
    with log.open("w") as output:
        return subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True).pid


def _kill_all(leader: int) -> None:
    """Kill a process and all that it has started; launchers give each rank a session of its own."""
    with suppress(psutil.NoSuchProcess):
        for member in psutil.Process(leader).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                member.kill()
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def _ended(child: int) -> int | None:
    found, status = os.waitpid(child, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None
