"""Before and after, as the page's table shows it: each metric's two values with intervals, and what changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from guard_reward.report.cells import Estimate, is_rate, union_of_keys
from guard_reward.report.change import clearly_differ, time_of
from guard_reward.report.run import Measurement, Run

__all__ = ["Cell", "Row", "comparison", "main_metrics", "single_measurements"]

# Which direction is better, by the beginning of a metric's name; a metric that is not here has none.
_HIGHER = ("safety_rate", "safe_rate", "helpfulness")
_LOWER = (
    *("unsafe_rate", "controversial_rate", "attack_success_rate", "garbled_rate"),
    *("refusal_rate_benign", "over_refusal_rate"),
)
_FIRST = (
    "safety_rate",
    "safe_rate",
    "unsafe_rate",
    "refusal_rate_harmful",
    "refusal_rate_benign",
    "refusal_rate",
    "helpfulness",
)
# What the table shows at once; the first of each that was measured.
_MAIN = (
    ("safety_rate", "safe_rate_harmful"),
    ("refusal_rate_harmful", "refusal_rate"),
    ("refusal_rate_benign",),
    ("safe_rate", "safe_rate_benign"),
    ("helpfulness", "helpfulness_harmful", "helpfulness_benign"),
    ("compliance", "compliance_rate"),
)


class Cell(NamedTuple):
    """A metric before and after, in words and as positions on a bar from 0 to 100.

    Attributes:
        after, before: value and interval; before is empty if there is one measurement only.
        change: ``+46.0 points``; empty without a value before.
        verdict: ``better``, ``worse``, ``changed``, ``no clear change`` (by the test on shared prompts, or by the
            interval of the difference), or empty if that is unknown.
        arrow: up or down.
        bar: positions; None for what is no rate.
    """

    after: tuple[str, str]
    before: tuple[str, str]
    change: str
    verdict: str
    arrow: str
    bar: dict[str, tuple[float, float, float]] | None


class Row(NamedTuple):
    """A run under one judge.

    Attributes:
        run: its position on the page.
        stages: what is compared: ``before`` and ``after``, or one stage alone.
        cells: one per metric; None where nothing was measured.
    """

    run: int
    name: str
    judged_by: str
    independent: bool | None
    stages: Sequence[str]
    cells: Sequence[Cell | None]


def comparison(runs: Sequence[Run]) -> tuple[list[str], list[Row]]:
    """Metrics and rows: each run's first and last measurement by each judge."""
    metrics = _metrics(runs)
    rows = []
    for position, run in enumerate(runs):
        by_judge: dict[tuple[str, bool | None], list[Measurement]] = {}
        for found in run.measurements:
            by_judge.setdefault((found.judged_by, found.independent), []).append(found)
        for (judged_by, independent), found_by_judge in by_judge.items():
            for before, last in _compared(found_by_judge):
                cells = [_cell(metric, before, last) for metric in metrics]
                stages = [before.stage, last.stage] if before else [last.stage]
                rows.append(Row(position, run.name, judged_by, independent, stages, cells))
    return metrics, rows


def main_metrics(metrics: Sequence[str]) -> list[str]:
    """The few that answer whether a run got safe, and at what cost; the first six if none of them is there.

    >>> main_metrics(["refusal_rate", "empty_rate", "safety_rate"])
    ['safety_rate', 'refusal_rate']
    """
    found = [next((metric for metric in same if metric in metrics), None) for same in _MAIN]
    return [metric for metric in found if metric] or list(metrics[: len(_MAIN)])


def single_measurements(runs: Sequence[Run]) -> list[tuple[str, Measurement]]:
    """Every measurement of the runs that have some between the first and the last; by time."""
    return [
        (run.name, found)
        for run in runs
        for found in sorted(run.measurements, key=lambda found: (found.judged_by, time_of(found)))
        if sum(other.judged_by == found.judged_by for other in run.measurements) > 2
    ]


def _compared(measurements: Sequence[Measurement]) -> Iterator[tuple[Measurement | None, Measurement]]:
    """The first and the last by time; those without a place in time each for itself."""
    ordered = sorted(filter(time_of, measurements), key=time_of)
    if ordered:
        first, last = ordered[0], ordered[-1]
        yield (first if time_of(first) < time_of(last) else None), last
    yield from ((None, found) for found in measurements if not time_of(found))


def _metrics(runs: Sequence[Run]) -> list[str]:
    found = union_of_keys(measured.values for run in runs for measured in run.measurements)
    return sorted(found, key=lambda metric: _FIRST.index(metric) if metric in _FIRST else len(_FIRST))


def _cell(metric: str, before: Measurement | None, after: Measurement) -> Cell | None:
    new = after.values.get(metric)
    if new is None:
        return None
    old = before.values.get(metric) if before else None
    rate = is_rate(metric)
    shown = (new.shown(as_rate=rate), new.interval(as_rate=rate))
    bar = {"after": _span(new)} if rate else None
    if old is None:
        return Cell(shown, ("", ""), "", "", "", bar)
    if bar is not None:
        bar["before"] = _span(old)
    difference = new.value - old.value
    change = f"{100 * difference:+.1f} points" if rate else f"{difference:+.2f}"
    arrow = "▲" if difference > 0 else "▼" if difference < 0 else ""
    verdict = _verdict(metric, old, new, after.p_values.get(metric))
    return Cell(shown, (old.shown(as_rate=rate), old.interval(as_rate=rate)), change, verdict, arrow, bar)


def _verdict(metric: str, old: Estimate, new: Estimate, p_value: float | None) -> str:
    difference = new.value - old.value
    clear = clearly_differ(old, new, p_value)
    if clear is False:
        return "no clear change"
    direction = 1 if metric.startswith(_HIGHER) else -1 if metric.startswith(_LOWER) else 0
    if clear is None:
        return ""
    if direction == 0:
        return "changed"
    return "better" if difference * direction > 0 else "worse"


def _span(found: Estimate) -> tuple[float, float, float]:
    """Value and interval as percentages of the bar."""
    low, high = (found.value if end is None else end for end in (found.low, found.high))
    value, low, high = (100 * min(max(number, 0.0), 1.0) for number in (found.value, low, high))
    return value, low, high
