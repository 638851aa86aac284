"""A folder for files of a target, in memory where the machine has one: millions of files need no disk."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path

__all__ = ["folder"]

_IN_MEMORY = Path("/dev/shm")


@cache
def folder() -> Path:
    """This process's own; deleted when the process ends."""
    in_memory = _IN_MEMORY.is_dir() and os.access(_IN_MEMORY, os.W_OK)
    path = Path(tempfile.mkdtemp(prefix="soak-", dir=_IN_MEMORY if in_memory else None))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path
