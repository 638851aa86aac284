"""Other processes: two that talk to each other, as ranks do, one that only imports, and a fork of this one."""

from __future__ import annotations

import ast
import multiprocessing
import resource
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[1]


def run_two_ranks(script: str, store: Path, *arguments: str, timeout: float) -> tuple[str, str]:
    """Run a script as two processes, each with its rank, the store's path and the arguments; what they printed."""
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(rank), str(store), *arguments],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    try:
        outputs = [process.communicate(timeout=timeout) for process in ranks]
    finally:
        for process in ranks:
            process.kill()
    assert [process.returncode for process in ranks] == [0, 0], outputs
    (first, _), (second, _) = outputs
    return first, second


def imported_by(code: str, names: Sequence[str]) -> tuple[list[str], float]:
    """Which of the modules `names` a new process has imported after `code`, and the processor seconds that took.

    The best of three, in processor time: test machines are busy.
    """
    script = f"{code}\nimport sys\nprint([name for name in {tuple(names)} if name in sys.modules])"
    seconds = []
    for _ in range(3):
        before = _processor_seconds()
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True
        )
        seconds.append(_processor_seconds() - before)
    return ast.literal_eval(done.stdout.splitlines()[-1]), min(seconds)


def _processor_seconds() -> float:
    """Of all finished child processes."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def in_fork(function: Callable[[], Any], *, timeout: float = 20) -> Any:
    """What `function` returns in a forked process, which is killed if it takes longer than so many seconds."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    child = context.Process(target=lambda: there.send(function()))
    child.start()
    try:
        assert here.poll(timeout), "the forked process does not answer"
        return here.recv()
    finally:
        child.kill()
        child.join()
