"""The page over one or many runs.

Rollouts are untrusted text: a policy can write a script tag as well as anything else. The template escapes every value,
rollouts reach the page as JSON and are shown as text, and the page's own policy (Content-Security-Policy) lets nothing
run but its own scripts, by their hashes.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from guard_reward.report.causes import MAX_ALARMS
from guard_reward.report.cells import union_of_keys
from guard_reward.report.charts import (
    DASHES,
    SYMBOLS,
    Chart,
    Curves,
    category_charts,
    curve_charts,
    other_charts,
    share_steps,
)
from guard_reward.report.curves import MAX_POINTS, read_curves
from guard_reward.report.measurements import comparison, main_metrics, single_measurements
from guard_reward.report.plane import plane_chart
from guard_reward.report.rollout_table import RolloutTable, rollout_table
from guard_reward.report.run import Run
from guard_reward.report.web_page import write_page

__all__ = ["write_runs_page"]


def write_runs_page(
    path: str | Path,
    runs: Sequence[Run],
    *,
    title: str,
    summary: Sequence[str] = (),
    differences: Sequence[tuple[str, Sequence[str | None]]] = (),
    refresh_seconds: int | None = None,
) -> Path:
    """Write one self-contained HTML file (about 5 MB: plotly's script is in it) and return its path.

    Args:
        path: of the file to write.
        runs: to show, in this order; their names differ.
        title: of the page.
        summary: what the runs came to, in sentences.
        differences: settings that differ between the runs: the setting, and its text in each run;
            None where it is unknown.
        refresh_seconds: after how many seconds the open page reads the file again; None for a page that stays as it is.

    Raises:
        ValueError: two runs have the same name, or a difference has not one text per run.
        ModuleNotFoundError: without plotly (``pip install 'guard-reward[report]'``).

    >>> log = [{"step": step, "reward": step / 10} for step in range(10)]
    >>> write_runs_page("report.html", [Run("first", "runs/first", log=log)], title="A run")  # doctest: +SKIP
    PosixPath('report.html')
    """
    _check(runs, differences)
    curves = [read_curves(run.log) for run in runs]
    charts = _charts(runs, curves)
    metrics, rows = comparison(runs)
    table = rollout_table(runs)
    return write_page(
        Path(path),
        "runs.html.jinja",
        ["page.js", "charts.js", "fragment.js", "rollouts.js", "detail.js", "chart_links.js", "print.js", "refresh.js"],
        title=title,
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        refresh_seconds=refresh_seconds,
        runs=[_header(position, run, curves[position]) for position, run in enumerate(runs)],
        alarms=_alarms(runs, table),
        alarm_count=sum(len(run.alarms) for run in runs),
        summary=summary,
        metrics=metrics,
        main_metrics=main_metrics(metrics),
        comparison=rows,
        measurements=single_measurements(runs),
        charts=charts,
        figures={f"{part}-{n}": chart.figure for part, members in charts.items() for n, chart in enumerate(members)},
        marks={str(position): _steps_marked(run) for position, run in enumerate(runs)},
        has_judge=any(name.startswith("eval_judge/") for by_name in curves for name in by_name),
        is_reduced=any(len(curve.steps) > MAX_POINTS for by_name in curves for curve in by_name.values()),
        max_points=MAX_POINTS,
        differences=differences,
        settings=_settings(runs),
        rollouts=table.page,
        notes=[(run.name, note) for run in runs for note in run.notes],
    )


def _check(runs: Sequence[Run], differences: Sequence[tuple[str, Sequence[str | None]]]) -> None:
    names = [run.name for run in runs]
    if len(set(names)) < len(names):
        raise ValueError(f"runs should have different names, found {names}")
    for setting, texts in differences:
        if len(texts) != len(runs):
            raise ValueError(f"differences should have one text per run, found {len(texts)} of {setting!r}")


def _charts(runs: Sequence[Run], curves: Sequence[Curves]) -> dict[str, list[Chart]]:
    """By part of the page."""
    names = [run.name for run in runs]
    plane = plane_chart(runs, curves)
    over_steps = {
        "curves": curve_charts(names, curves),
        "others": other_charts(names, curves),
        "categories": category_charts(names, curves),
    }
    for charts in over_steps.values():
        share_steps(charts, curves)
    return {"plane": [plane] if plane else [], **over_steps}


def _settings(runs: Sequence[Run]) -> list[tuple[str, list[str | None]]]:
    """Every setting with its text in each run."""
    names = union_of_keys(run.settings for run in runs)
    return [(name, [run.settings.get(name) for run in runs]) for name in names]


def _header(position: int, run: Run, curves: Curves) -> dict[str, Any]:
    """What the page's head and its legend say of a run."""
    step = max((int(curve.steps[-1]) for curve in curves.values() if curve.steps), default=None)
    planned = f" of {run.max_steps:,}" if run.max_steps is not None else ""
    at = "no step logged yet" if step is None else f"step {step:,}{planned}"
    return {
        "position": position,
        "name": run.name,
        "folder": run.folder,
        "state": f"{'still running' if run.is_running else 'ended'}, {at}",
        "is_running": run.is_running,
        "dash": DASHES[position % len(DASHES)],
        "symbol": SYMBOLS[position % len(SYMBOLS)],
    }


def _alarms(runs: Sequence[Run], table: RolloutTable) -> list[dict[str, Any]]:
    """The alarms, each with the addresses of rollouts that caused it."""
    return [
        {"run": run.name, "alarm": alarm, "rollouts": addresses}
        for run in runs
        for alarm, addresses in zip(run.alarms, table.causes[run.name], strict=False)
    ]


def _steps_marked(run: Run) -> list[int]:
    return sorted({alarm.step for alarm in run.alarms[:MAX_ALARMS]})
