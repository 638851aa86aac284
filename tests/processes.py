"""Two processes that talk to each other, for what ranks do together."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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
