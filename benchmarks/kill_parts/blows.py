"""How a process is killed: at a moment, before a file operation, or in the middle of a write.

| kind | ``at`` | what happens |
|---|---|---|
| ``moment`` | seconds after the first progress | SIGKILL from outside |
| ``operation`` | how many file operations later | SIGKILL before it opens, renames or removes a file of the output |
| ``write`` | bytes | the kernel ends it inside the write that makes any file longer: the first bytes are there |

No handler and no ``finally`` of Python runs in any of them.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

__all__ = ["KINDS", "Blow", "Reach", "arm", "draw"]

KINDS = ("moment", "operation", "write")
_OPERATIONS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate"}


@dataclass(frozen=True)
class Blow:
    """A kill to come.

    Attributes:
        kind: see the module.
        at: in the kind's unit.
    """

    kind: str
    at: float


@dataclass(frozen=True)
class Reach:
    """How far a run without kills goes, in the unit of each kind.

    Attributes:
        seconds: from the first progress to the end.
        operations: on files of the output.
        size: bytes of the longest file that was ever there.
    """

    seconds: float
    operations: int
    size: int


def draw(random: Random, reach: Reach, kinds: tuple[str, ...] = KINDS) -> Blow:
    """A blow somewhere in the run; with files it is more often early, because half of the runs begin with a journal."""
    kind = random.choice(kinds)
    if kind == "moment":
        return Blow(kind, random.uniform(0.0, reach.seconds))
    if kind == "operation":
        return Blow(kind, random.randint(1, max(1, reach.operations)))
    return Blow(kind, random.randint(1, max(1, reach.size)))


def arm(blow: Blow | None, folder: Path) -> Callable[[], int]:
    """Make this process die of the blow; a ``moment`` comes from outside.

    Args:
        blow: when; None for never.
        folder: of the output. The limit of a ``write`` holds for all files.

    Returns:
        What counts the operations until now.
    """
    if blow is not None and blow.kind == "write":
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores it, and would raise an OSError
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(blow.at), resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    return _count_operations(folder, blow.at if blow is not None and blow.kind == "operation" else None)


def _count_operations(folder: Path, last: float | None) -> Callable[[], int]:
    inside, done = os.path.abspath(folder), 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal done
        if event in _OPERATIONS and _is_inside(arguments[0], inside):
            done += 1
            if done == last:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    return lambda: done


def _is_inside(path: Any, folder: str) -> bool:
    return isinstance(path, str | os.PathLike) and os.path.abspath(os.fspath(path)).startswith(folder)
