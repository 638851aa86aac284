"""``guard-reward report``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from guard_reward.cli.options import JsonFile, Quiet, check_writable
from guard_reward.cli.output import one_line_errors, printable, write_json

if TYPE_CHECKING:
    from guard_reward.report.run import Measurement, Run

__all__ = ["report"]

_PAGE = "report.html"
_NOTES = 5  # that are printed; the page has all

Folders = Annotated[
    list[Path],
    typer.Argument(
        metavar="RUN_DIR", help="Output folders of trainers, or folders that hold such.", show_default=False
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="The page. Default: report.html, in RUN_DIR if there is one.",
        dir_okay=False,
        callback=check_writable,
    ),
]
Title = Annotated[str | None, typer.Option(help="Of the page; default: the names of the runs.")]
Evaluations = Annotated[
    list[Path] | None,
    typer.Option(
        "--evaluation",
        metavar="DIR",
        help="A folder of guard-reward evaluate that is not in RUN_DIR; once per folder.",
    ),
]
MaxRollouts = Annotated[
    int, typer.Option(min=0, help="Rollouts of each run on the page: some of all of training, the unsafe ones first.")
]
Watch = Annotated[bool, typer.Option("--watch", help="Write the page again while the runs go on; Ctrl-C stops.")]
Every = Annotated[float, typer.Option(metavar="SECONDS", min=0.1, help="How often --watch looks for changes.")]


def report(
    folders: Folders,
    out: Out = None,
    title: Title = None,
    evaluation: Evaluations = None,
    max_rollouts: MaxRollouts = 3000,
    watch: Watch = False,
    every: Every = 30.0,
    quiet: Quiet = False,
    json_file: JsonFile = None,
) -> None:
    """Say whether runs got safer and at what cost: three sentences, and one HTML page that needs no network.

    RUN_DIR is the output_dir of a run of guard-reward or of plain TRL, finished or going on. What is there is read: the
    trainer's log, TRL's completions tables (log_completions: true), run_config.json, alarms, and evaluations by
    guard-reward evaluate in its subfolders.

    Examples:

    - `guard-reward report runs/gspo`

    - `guard-reward report runs/gspo runs/ppo --out compared.html`
    - `guard-reward report runs/gspo --evaluation eval/before --evaluation eval/after`

    - `guard-reward report runs/gspo --watch --every 60`
    """
    place = out or (folders[0] / _PAGE if len(folders) == 1 else Path(_PAGE))
    job = _Job(folders, place, title, evaluation or [], max_rollouts, quiet)
    with one_line_errors():
        if watch:
            runs = _watch(job, every)
        else:
            runs = job.reader()()
            job.write(runs, None)
    if not runs:
        raise typer.Exit(130)
    if not quiet:
        _print(runs, place)
    write_json(json_file, _as_json(runs, place))


class _Job(NamedTuple):
    """What the command was asked for."""

    folders: list[Path]
    place: Path
    title: str | None
    evaluations: list[Path]
    max_rollouts: int
    quiet: bool

    def reader(self) -> Callable[[], list[Run]]:
        """Reads the runs; from its second call on only what has changed."""
        from guard_reward.report.folders import read_runs
        from guard_reward.report.rollouts import Cache

        return partial(
            read_runs,
            self.folders,
            max_rollouts=self.max_rollouts,
            evaluations=self.evaluations,
            cache=Cache(),
            progress=not self.quiet,
        )

    def write(self, runs: Sequence[Run], refresh_seconds: int | None) -> None:
        from guard_reward.report.runs_page import write_runs_page
        from guard_reward.report.settings import settings_diff
        from guard_reward.report.summary import summary

        names = ", ".join(run.name for run in runs[:4]) + (", …" if len(runs) > 4 else "")
        write_runs_page(
            self.place,
            runs,
            title=self.title or names,
            summary=summary(runs),
            differences=settings_diff(runs),
            refresh_seconds=refresh_seconds,
        )


def _watch(job: _Job, every: float) -> Sequence[Run]:
    """Write the page until no run goes on, or the user stops; what was read last."""
    from guard_reward.report.assignment import check_evaluations
    from guard_reward.report.watching import watch

    check_evaluations(job.evaluations)  # a mistyped name would be waited for
    last: list[Sequence[Run]] = [[]]

    def write(runs: Sequence[Run], goes_on: bool) -> None:
        job.write(runs, max(1, round(every)) if goes_on else None)
        last[0] = runs
        steps = ", ".join(_progress(run) for run in runs)
        say(f"Written to {job.place}: {steps}.")

    def say(sentence: str) -> None:
        if not job.quiet:
            typer.echo(printable(sentence))

    try:
        watch(job.folders, job.reader(), write, seconds=every, say=say, evaluations=job.evaluations)
    except KeyboardInterrupt:
        if last[0]:
            job.write(last[0], None)  # a page that does not wait for more
        say("Stopped watching." if last[0] else "Stopped watching: there is no page yet.")
    return last[0]


def _progress(run: Run) -> str:
    if not run.log:
        return f"{run.name} without a log"
    return f"{run.name} at step {run.log[-1]['step']:,}" + (f" of {run.max_steps:,}" if run.max_steps else "")


def _print(runs: Sequence[Run], place: Path) -> None:
    from rich.console import Console

    from guard_reward.report.summary import summary

    console = Console(markup=False, highlight=False, emoji=False)
    for sentence in summary(runs):
        console.print(printable(sentence))
    notes = [f"Note, {run.name}: {note}" for run in runs for note in run.notes]
    for note in notes[:_NOTES]:
        console.print(printable(note), style="dim")
    if len(notes) > _NOTES:
        console.print(f"{len(notes) - _NOTES} more notes are on the page.", style="dim")
    console.print(printable(f"Written to {place}."), soft_wrap=True)


def _as_json(runs: Sequence[Run], place: Path) -> dict[str, Any]:
    from guard_reward.report.change import half_change_step
    from guard_reward.report.settings import settings_diff
    from guard_reward.report.summary import summary

    return {
        "report": str(place),
        "summary": summary(runs),
        "runs": [
            {
                "name": run.name,
                "folder": run.folder,
                "summary": summary([run]),
                "is_running": run.is_running,
                "step": run.log[-1]["step"] if run.log else None,
                "max_steps": run.max_steps,
                "half_change_step": half_change_step(run),
                "rollouts": run.rollout_total,
                "measurements": [_measurement(one) for one in run.measurements],
                "alarms": len(run.alarms),
                "notes": list(run.notes),
            }
            for run in runs
        ],
        "differences": [row._asdict() for row in settings_diff(runs)],
    }


def _measurement(one: Measurement) -> dict[str, Any]:
    return {
        "stage": one.stage,
        "judged_by": one.judged_by,
        "independent": one.independent,
        "values": {name: found._asdict() for name, found in one.values.items()},
        "p_values": dict(one.p_values),
    }
