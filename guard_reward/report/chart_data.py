"""What a chart shows as a table, for readers without a mouse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import unescape
from typing import Any

__all__ = ["chart_data"]

_ROWS = 12


def chart_data(figure: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Headings and rows: some steps, evenly chosen with the first and the last, and each line's values there.

    Args:
        figure: of `guard_reward.report.charts` or of `guard_reward.report.plane`.

    Returns:
        No rows for a figure without lines.

    >>> line = {"name": "hybrid", "x": [1, 2], "y": [0.5, 1], "meta": {"role": "line"}}
    >>> chart_data({"data": [line], "layout": {"yaxis": {"tickformat": ".0%"}}})
    (['Step', 'hybrid'], [['1', '50.0%'], ['2', '100.0%']])
    """
    columns = [column for trace in figure["data"] for column in _columns(trace)]
    steps = sorted({step for _, values in columns for step in values})
    last = len(steps) - 1
    chosen = sorted({round(last * row / (_ROWS - 1)) for row in range(_ROWS)}) if steps else []
    form = ".1%" if figure["layout"]["yaxis"].get("tickformat") else ".4g"
    rows = [[f"{steps[at]:,g}", *(_shown(values.get(steps[at]), form) for _, values in columns)] for at in chosen]
    return ["Step", *(name for name, _ in columns)], rows


def _columns(trace: Mapping[str, Any]) -> list[tuple[str, dict[float, float]]]:
    """A line's name and its values by step; two for a path through the plane."""
    name, role = unescape(trace.get("name", "")), trace["meta"]["role"]
    if role in ("line", "area"):
        return [(name, _by_step(trace["x"], trace["y"]))]
    if role == "path" and "lines" in trace["mode"]:
        steps = trace["customdata"]
        return [(f"{name}, safe", _by_step(steps, trace["y"])), (f"{name}, refused", _by_step(steps, trace["x"]))]
    return []


def _by_step(steps: Sequence[float], values: Sequence[float]) -> dict[float, float]:
    return dict(zip(steps, values, strict=True))


def _shown(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
