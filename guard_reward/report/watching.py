"""A page that is written again while runs go on."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from guard_reward.errors import UserError, one_line
from guard_reward.report.folders import QUIET_SECONDS, Stamps, fingerprint
from guard_reward.report.run import Run

__all__ = ["watch"]


def watch(
    folders: Sequence[Path],
    read: Callable[[], Sequence[Run]],
    write: Callable[[Sequence[Run], bool], None],
    *,
    seconds: float,
    say: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Write the page now and whenever the runs' files have changed, until no run goes on any more.

    Args:
        folders: of runs; they may appear later.
        read: reads the runs.
        write: writes the page; is told whether it will be written again.
        seconds: between two looks.
        say: gets a sentence for the user.
        sleep: waits for so many seconds.
    """
    seen: Stamps = frozenset()
    told = ""
    while True:
        found = fingerprint(folders)
        runs = None
        if not found:
            told = _told(say, f"Waiting for a run in {', '.join(map(str, folders))}.", told)
        elif found != seen or _is_quiet(found):  # a run that was killed ends by time alone
            try:
                runs = read()
            except UserError as error:
                told = _told(say, f"Waiting: {one_line(error)}.", told)
        if runs is not None:
            goes_on = any(run.is_running for run in runs)
            write(runs, goes_on)
            seen, told = found, ""
            if not goes_on:
                return
        sleep(seconds)


def _is_quiet(stamps: Stamps) -> bool:
    return max(written for _, _, written in stamps) / 1e9 < time.time() - QUIET_SECONDS


def _told(say: Callable[[str], None], sentence: str, before: str) -> str:
    """Say a sentence once, however often it is true in a row."""
    if sentence != before:
        say(sentence)
    return sentence
