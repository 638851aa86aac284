"""A grade as tables in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from guard_reward.cli.output import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from guard_reward.evaluation.grading.classification import Scores
    from guard_reward.evaluation.grading.grade import Grade, ModeGrade, TaskGrade
    from guard_reward.evaluation.grading.published import Published
    from guard_reward.statistics import Estimate

__all__ = ["print_grade"]

_TASKS = {"prompt_harm": "prompt harm", "response_harm": "response harm", "refusal": "refusal"}
_PLACES = {"Ahead": "before the place", "Hit": "in the place", "Safe": "never"}
_MOST_REASONS = 5


def print_grade(grade: Grade, by: Sequence[str], published: Sequence[Published] = ()) -> None:
    """Print a grade: one line per task and mode, what the probabilities could do, and one table per wished group."""
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    console.print(printable(grade.guard.get("guard", "the guard")))
    if any(task.modes for task in grade.tasks.values()):
        console.print(_overall(grade))
        console.print(_probabilities(grade))
    for name, task in grade.tasks.items():
        _print_notes(console, name, task, grade)
        for kind in by:
            if task.modes and not any(found.by[kind] for found in task.modes.values()):
                console.print(f"{_TASKS[name]}: no row has a {kind}")
            for mode, found in task.modes.items():
                if found.by[kind]:
                    console.print(_groups(f"{_title(name, mode)}, by {kind}", kind, found))
    _print_latency(console, grade)
    for reason, count in grade.skipped.items():
        console.print(printable(f"not graded: {count:,} rows: {reason}"))
    _print_published(console, published)


def _overall(grade: Grade) -> Table:
    from rich.table import Table

    table = Table("", "rows", "precision", "recall", "F1 (95%)", "accuracy", "false pos.")
    for name, task in grade.tasks.items():
        for mode, found in task.modes.items():
            table.add_row(_title(name, mode), *_cells(found.overall))
            if found.unjudged_as_wrong is not None:
                table.add_row("  no verdict as wrong", *_cells(found.unjudged_as_wrong))
            if found.macro:
                values = [found.macro[metric] for metric in ("precision", "recall", "f1", "accuracy")]
                shown = [_percent(value, with_interval=number == 2) for number, value in enumerate(values)]
                sources = f"{len(found.by['source'])} sources"
                table.add_row("  mean of sources", sources, *shown, _percent(found.macro["false_positive_rate"]))
    return table


def _probabilities(grade: Grade) -> Table:
    """Average precision, calibration and the threshold; or why they are missing."""
    from rich.table import Table

    wished = grade.settings.false_positive_rate
    table = Table("from probabilities", "AP", "ECE", "at T", "Brier", f"at {wished:.2%} false pos.")
    for name, task in grade.tasks.items():
        for mode, found in task.modes.items():
            if found.curve is None or found.threshold is None:
                table.add_row(_title(name, mode), printable(f"none: {found.absent.get('probabilities', '')}"))
                continue
            calibration, at = found.calibration, found.threshold
            error = ["–", "–", "–"]
            if calibration is not None:
                before, after = calibration.before, calibration.after
                error = [
                    f"{before.ece:.3f}",
                    f"{after.ece:.3f} (T {calibration.temperature:.2f})",
                    f"{before.brier:.3f}",
                ]
            average = f"{found.curve.average_precision:.3f}"
            precision = "–" if at.precision is None else f"{at.precision:.1%}"
            said = f"P ≥ {at.threshold:.4f}: precision {precision}, recall {at.recall:.1%}"
            table.add_row(_title(name, mode), average, *error, said)
    return table


def _groups(title: str, kind: str, found: ModeGrade) -> Table:
    from rich.table import Table

    table = Table(kind, "rows", "precision", "recall", "F1 (95%)", "accuracy", "false pos.", title=title)
    for group, scores in found.by[kind].items():
        table.add_row(printable(group), *_cells(scores))
    return table


def _print_notes(console: Console, name: str, task: TaskGrade, grade: Grade) -> None:
    """Labels, verdicts and what is missing."""
    if task.confusion is not None:
        for label, counts in zip(task.confusion.labels, task.confusion.counts, strict=True):
            if sum(counts):
                pairs = zip(task.confusion.verdicts, counts, strict=True)
                said = ", ".join(f"{count:,} {verdict}" for verdict, count in pairs)
                console.print(f"{_TASKS[name]}: labelled {label}: {said}")
    partial = task.labels.get("partial", 0)
    if name == "refusal" and partial:
        what = "are left out" if task.left_out else f"count as {grade.settings.partial.value}"
        console.print(f"refusal: {partial:,} partial refusals {what} (--partial)")
    if task.unjudged:
        console.print(f"{_TASKS[name]}: {sum(task.unjudged.values()):,} of {task.rows:,} rows have no verdict")
    for reason, count in list(task.unjudged.items())[:_MOST_REASONS]:
        console.print(printable(f"{_TASKS[name]}: no verdict: {count:,}: {reason}"))
    if len(task.unjudged) > _MOST_REASONS:
        console.print(f"{_TASKS[name]}: and {len(task.unjudged) - _MOST_REASONS} more reasons (--json)")


def _print_latency(console: Console, grade: Grade) -> None:
    from rich.table import Table

    if (found := grade.latency) is None:
        return
    table = Table("flagged", "responses", "share")
    for name, count in found.bins.items():
        table.add_row(_PLACES.get(name, f"{name} tokens behind it"), f"{count:,}", f"{count / found.responses:.1%}")
    console.print(table)
    console.print(f"exact hits {found.exact_hit_rate:.1%}, within 128 tokens {found.within_128_rate:.1%}")


def _print_published(console: Console, published: Sequence[Published]) -> None:
    from rich.table import Table

    from guard_reward.evaluation.grading.published import SOURCE

    if not published:
        return
    table = Table("published F1", "mode", *dict.fromkeys(_TASKS[it.task] for it in published), title=SOURCE)
    tasks = list(dict.fromkeys(it.task for it in published))
    for guard, mode in dict.fromkeys((it.guard, it.mode) for it in published):
        cells = {it.task: f"{it.f1:.1%}" for it in published if (it.guard, it.mode) == (guard, mode)}
        table.add_row(guard, mode, *(cells.get(task, "–") for task in tasks))
    console.print(table)


def _title(name: str, mode: str) -> str:
    return _TASKS[name] if mode == name else f"{_TASKS[name]}, {mode}"


def _cells(scores: Scores) -> list[str]:
    return [
        f"{scores.rows:,}",
        *(_percent(value) for value in (scores.precision, scores.recall)),
        _percent(scores.f1, with_interval=True),
        *(_percent(value) for value in (scores.accuracy, scores.false_positive_rate)),
    ]


def _percent(value: Estimate | None, *, with_interval: bool = False) -> str:
    if value is None:
        return "–"
    interval = f" ({100 * value.low:.1f}–{100 * value.high:.1f})" if with_interval else ""
    return f"{value.value:.1%}{interval}"
