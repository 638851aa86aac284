"""A page that is written again while runs go on."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from guard_reward.errors import UserError, one_line
from guard_reward.report.doubts import is_finished
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
    evaluations: Sequence[Path] = (),
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Write the page now and whenever the runs' files have changed, until all runs have ended.

    A run that falls silent while it is watched may come back (a preempted job), so it is waited for.

    Args:
        folders: of runs; they may appear later.
        read: reads the runs.
        write: writes the page; is told whether it will be written again.
        seconds: between two looks.
        say: gets a sentence for the user.
        evaluations: folders outside the runs that are read too.
        sleep: waits for so many seconds.
    """
    seen: Stamps = frozenset()
    shown: tuple[Stamps, list[str]] | None = None
    told = ""
    went_on: set[str] = set()
    are_running = False
    while True:
        found = fingerprint(folders, evaluations)
        runs = None
        if not found:
            told = _told(say, f"Waiting for a run in {', '.join(map(str, folders))}.", told)
        elif found != seen or (are_running and _is_quiet(found)):  # a run that was killed ends by time alone
            try:
                runs = read()
            except UserError as error:
                told = _told(say, f"Waiting: {one_line(error).rstrip('.')}.", told)
        if runs is not None:
            seen, are_running = found, any(run.is_running for run in runs)
            went_on |= {run.folder for run in runs if run.is_running}
            silent = [run.name for run in runs if run.folder in went_on and not run.is_running and not _has_ended(run)]
            goes_on = are_running or bool(silent)
            if shown != (found, silent):
                write(runs, goes_on)
                shown, told = (found, silent), ""
            if not goes_on:
                return
            for name in silent:
                say(f"{name} seems to have been stopped. The page follows it if it goes on; Ctrl-C ends this.")
        sleep(seconds)


def _has_ended(run: Run) -> bool:
    """Whether a run can be known to have ended: without a log, only its silence says so."""
    return not run.log or is_finished(run)


def _is_quiet(stamps: Stamps) -> bool:
    return max(written for _, _, written in stamps) / 1e9 < time.time() - QUIET_SECONDS


def _told(say: Callable[[str], None], sentence: str, before: str) -> str:
    """Say a sentence once, however often it is true in a row."""
    if sentence != before:
        say(sentence)
    return sentence
