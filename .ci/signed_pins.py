"""Commits that change constraints.txt have a `Signed-off-by` trailer: who has looked at it. See CONTRIBUTING.md.

Only commits after `SINCE` are looked at. A clone whose history does not reach it (a shallow one, a source archive) is
not checked, and says so.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SINCE = "b46f176"
PINS = "constraints.txt"


def unsigned(root: Path, since: str) -> list[str] | None:
    """The commits after `since` that change the pins without the trailer; None where the history does not reach it."""
    try:
        if _git(root, "merge-base", "--is-ancestor", since, "HEAD").returncode:
            return None
    except FileNotFoundError:  # no git here
        return None
    trailer = "%(trailers:key=Signed-off-by,valueonly,separator=%x2C)"
    log = _git(root, "log", f"--format=%h%x1f%s%x1f{trailer}", f"{since}..HEAD", "--", PINS)
    log.check_returncode()
    commits = [line.split("\x1f") for line in log.stdout.splitlines()]
    return [f"{commit} {subject}" for commit, subject, signed in commits if "@" not in signed]


def _git(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)


def main() -> None:
    """Say what is not signed."""
    found = unsigned(ROOT, SINCE)
    if found is None:
        print(f"signed pins: not checked: the history here does not reach {SINCE}")
        return
    for commit in found:
        print(f"signed pins: {commit}: changes {PINS} without Signed-off-by; CONTRIBUTING.md says what to check")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
