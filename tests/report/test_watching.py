"""A page that is written again while runs go on."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from guard_reward.report.folders import read_runs
from guard_reward.report.watching import watch
from tests.report.run_folders import final_line, log_line, rollout_row, write_completions, write_lines, write_state

Act = Callable[[Path], object]


def lines(*steps: int, finished: bool = False) -> Act:
    written = [*map(log_line, steps), *([final_line(steps[-1])] if finished else [])]
    return lambda run: write_lines(run / "log.jsonl", written)


def grow_old(run: Path) -> None:
    for path in run.rglob("*"):
        os.utime(path, (time.time() - 3600,) * 2)


def watched(run: Path, acts: list[Act]) -> tuple[list[str], list[str]]:
    """What was written (the last step, and whether the page goes on) and said while these things happened."""
    pages: list[str] = []
    said: list[str] = []
    coming: Iterator[Act] = iter(acts)

    def sleep(seconds: float) -> None:
        assert seconds == 7.0
        act = next(coming, None)
        if act is None:
            raise KeyboardInterrupt
        act(run)

    def write(runs: object, goes_on: bool) -> None:
        pages.append(f"{runs[0].log[-1]['step'] if runs[0].log else '-'}{'…' if goes_on else ''}")  # type: ignore[index]

    watch([run], lambda: read_runs([run]), write, seconds=7.0, say=said.append, sleep=sleep)
    return pages, said


# what happens between two looks → pages
STORIES = [
    ([lines(1), lines(1, 2), lambda run: None, lines(1, 2, 3, finished=True)], ["1…", "2…", "3"]),
    ([lambda run: None, lines(1, finished=True)], ["1"]),  # appears later, finished
    ([lambda run: run.mkdir(), lambda run: (run / "README.md").touch(), lines(4, finished=True)], ["4"]),
    ([lambda run: write_state(run, []).write_text("{"), lines(1, finished=True)], ["1"]),  # half written
    (
        [lines(1), lambda run: write_lines(run / "log.jsonl", [log_line(1), '{"st']), lines(2, finished=True)],
        ["1…", "1…", "2"],
    ),
    ([lines(1), lambda run: write_completions(run, 1, [rollout_row()]), lines(2, finished=True)], ["1…", "1…", "2"]),
    ([lines(1), grow_old, lines(2, finished=True)], ["1…", "1…", "2"]),  # preempted, and back
    ([lambda run: (lines(1)(run), grow_old(run))], ["1"]),  # stopped long ago
    ([lines(1), lambda run: (run / "log.jsonl").unlink(), lines(2, finished=True)], ["1…", "2"]),
]


@pytest.mark.parametrize(("acts", "pages"), STORIES)
def test_a_page_for_every_change_until_the_run_ends(tmp_path: Path, acts: list[Act], pages: list[str]) -> None:
    assert watched(tmp_path / "run", acts)[0] == pages


def test_waiting_is_said_once(tmp_path: Path) -> None:
    run = tmp_path / "run"
    _, said = watched(run, [lambda run: None, lambda run: None, lines(1, finished=True)])
    assert said == [f"Waiting for a run in {run}."]
    broken: Act = lambda run: write_state(run, []).write_text("{")  # noqa: E731
    _, said = watched(tmp_path / "two", [broken, lambda run: None, lines(1, finished=True)])
    assert len(said) == 2
    assert said[1].startswith("Waiting: ")
    assert "nothing in them can be read" in said[1]


def test_a_finished_run_is_written_once(tmp_path: Path) -> None:
    lines(3, finished=True)(tmp_path)
    assert watched(tmp_path, []) == (["3"], [])
