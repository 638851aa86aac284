"""Grading from beginning to end: ask the guard, keep its verdicts in a folder, grade them, write a page."""

from __future__ import annotations

from pathlib import Path

from guard_reward.errors import UserError
from guard_reward.evaluation.extra import evaluation_module
from guard_reward.evaluation.grading.grade import Grade, GradeSettings, grade_judgements
from guard_reward.evaluation.grading.judgements import read_judgements, write_judgements
from guard_reward.evaluation.grading.judging import judge_rows
from guard_reward.evaluation.grading.labelled import Labelled
from guard_reward.evaluation.grading.page import write_grade_report
from guard_reward.verdict import Guard

__all__ = ["VERDICTS", "check_ready", "grade_guard", "grade_recorded"]

VERDICTS = "verdicts.jsonl"
_JOURNAL = "verdicts.journal"
_PAGE = "report.html"


def grade_guard(
    guard: Guard,
    labelled: Labelled,
    settings: GradeSettings | None = None,
    *,
    out: Path | None = None,
    restart: bool = False,
    progress: bool = False,
) -> Grade:
    """Say how good a guard is on labelled rows.

    Args:
        guard: the guard.
        labelled: from `guard_reward.evaluation.grading.public_sets.read_labelled`.
        settings: what the numbers depend on.
        out: a folder for the recorded verdicts and the page. A killed call goes on when it is made again.
        restart: discard the verdicts that `out` has.
        progress: show a bar on standard error.

    Raises:
        UserError: `out` has the verdicts of a finished run, or of another one; or the guard fails all the time.
    """
    check_ready(out, restart=restart)
    journal = None if out is None else out / _JOURNAL
    judgements = judge_rows(guard, labelled.rows, journal_path=journal, restart=restart, progress=progress)
    if out is not None and journal is not None:
        write_judgements(out / VERDICTS, judgements)
        journal.unlink(missing_ok=True)
    grade = grade_judgements(judgements, settings, skipped=labelled.skipped)
    if out is not None:
        _write_page(out, grade)
    return grade


def grade_recorded(path: Path, settings: GradeSettings | None = None, *, out: Path | None = None) -> Grade:
    """Grade the verdicts that `grade_guard` has kept, without a guard.

    Args:
        path: its ``verdicts.jsonl``.
        settings: what the numbers depend on.
        out: a folder for the page.

    Raises:
        UserError: names the line and the field that is wrong.
        OSError: the file cannot be read.
    """
    grade = grade_judgements(read_judgements(path), settings)
    if out is not None:
        _write_page(out, grade)
    return grade


def check_ready(out: Path | None, *, restart: bool = False) -> None:
    """What would fail after the guard's work, found before it.

    Raises:
        UserError: a package is missing; or the folder has the verdicts of a finished run, and `restart` is not set.
    """
    for name in ("sklearn.metrics", "scipy.optimize"):
        evaluation_module(name)
    if out is not None and not restart and (out / VERDICTS).exists():
        raise UserError(
            f"'{out / VERDICTS}' is there already: grade it again with --verdicts, choose another --out, "
            "or discard it with --restart"
        )


def _write_page(out: Path, grade: Grade) -> Path | None:
    """Write the page; None without plotly (extra ``report``)."""
    try:
        return write_grade_report(out / _PAGE, grade)
    except ModuleNotFoundError:
        return None
