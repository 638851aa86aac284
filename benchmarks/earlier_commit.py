"""The package as it was at another commit, for benchmarks that compare with it."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from pathlib import Path

__all__ = ["earlier_package"]


def earlier_package(commit: str, folder: Path) -> Path:
    """Write ``guard_reward`` of a commit of this repository into `folder`, and return `folder`.

    Raises:
        SystemExit: there is no such commit.
    """
    command = ["git", "archive", commit, "guard_reward"]
    git = subprocess.run(command, cwd=Path(__file__).resolve().parents[1], capture_output=True, check=False, timeout=60)
    if git.returncode:
        sys.exit(f"--before {commit}: {git.stderr.decode().strip()}")
    with tarfile.open(fileobj=io.BytesIO(git.stdout)) as package:
        package.extractall(folder, filter="data")
    return folder
