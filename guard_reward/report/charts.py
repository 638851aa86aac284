"""Runs as plotly figures: plain ``{"data": […], "layout": {…}}``, without the page's colours.

A trace's ``meta`` says what it is, so that the page can colour, smooth and hide it: ``series`` numbers the colour,
``run`` the run, ``role`` is ``line``, ``low``, ``high``, ``evaluation``, ``path``, ``point`` or ``area``.

All texts in a figure are escaped: plotly renders a subset of HTML in names and labels, and some of them (categories
that a guard made up, names of runs) come from outside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from math import floor, log10
from typing import Any, NamedTuple

from guard_reward.report.curves import Curve, find, reduced
from guard_reward.report.visible import visible

__all__ = [
    "DASHES",
    "SYMBOLS",
    "Chart",
    "Curves",
    "category_charts",
    "curve_charts",
    "figure_over_steps",
    "other_charts",
    "share_steps",
    "text",
]

Curves = Mapping[str, Curve]
"""A run's curves by metric."""

DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "hexagon")
"""With the colour they tell runs apart; also without it."""

_FILLS = ("", "/", ".", "x", "\\", "-", "|", "+")

_PERCENT = ".0%"
_NUMBER = ""

# (metric, title, axis format); a metric is found under its own name or behind a reward's prefix ("guard/safe_rate").
_CURVES = (
    ("reward", "Reward", _NUMBER),
    ("safe_rate", "Safe, all prompts", _PERCENT),
    ("unsafe_rate", "Unsafe, all prompts", _PERCENT),
    ("controversial_rate", "Controversial, all prompts", _PERCENT),
    ("refusal_rate/harmful", "Refusals of harmful prompts", _PERCENT),
    ("refusal_rate/benign", "Refusals of benign prompts", _PERCENT),
    ("refusal_rate", "Refusals, all prompts", _PERCENT),
    ("helpfulness", "Helpfulness", _NUMBER),
    ("kl", "KL from the reference policy", _NUMBER),
    ("completions/mean_length", "Completion length, tokens", _NUMBER),
    ("entropy", "Entropy of the policy", _NUMBER),
    ("thinking/unsafe_rate", "Unsafe thinking", _PERCENT),
    ("truncated_rate", "Cut off by the token limit", _PERCENT),
    ("injection_attempt_rate", "Answers that imitate the guard's format", _PERCENT),
    ("worse_form_rate", "Answers that are worse in another form", _PERCENT),
    ("lost_form_rate", "Answers with a form that was not judged", _PERCENT),
    ("language_switch_rate", "Answers in another script than the prompt", _PERCENT),
    ("outcome/empty", "Rows: empty answer", _PERCENT),
    ("outcome/degenerate", "Rows: answer says nothing", _PERCENT),
    ("outcome/language_switch", "Rows: another script, paid less", _PERCENT),
    ("outcome/no_verdict", "Rows: guard gave no verdict", _PERCENT),
    ("outcome/guard_error", "Rows: guard could not be asked", _PERCENT),
    ("outcome/timeout", "Rows: guard was too slow", _PERCENT),
    ("outcome/too_long", "Rows: too long for the guard", _PERCENT),
)
_MAX_CATEGORIES = 8
_CATEGORY_POINTS = 200
_CLEAR_CHANGE = 0.05  # of a rate; below it a curve has no time of change


class Chart(NamedTuple):
    """A figure and the words around it.

    Attributes:
        title: its heading.
        figure: for plotly.
        texts: what it shows, in words, one per run.
        runs: positions of the runs in it.
        categories: what the texts begin with, if each is of an unsafe category; empty for what is no category.
    """

    title: str
    figure: dict[str, Any]
    texts: Sequence[str] = ()
    runs: Sequence[int] = ()
    categories: Sequence[str] = ()


def text(outside: str) -> str:
    """Text from outside as plotly shows it literally."""
    return escape(visible(outside))


def curve_charts(names: Sequence[str], curves: Sequence[Curves]) -> list[Chart]:
    """One chart per known metric, with a line per run that logged it; metrics that are always 0 are left out.

    Args:
        names: of the runs.
        curves: of each run.
    """
    charts = []
    for metric, title, tick_format in _CURVES:
        chart = _metric_chart(names, curves, metric, title, tick_format)
        if chart:
            charts.append(chart)
    return charts


def other_charts(names: Sequence[str], curves: Sequence[Curves]) -> list[Chart]:
    """One chart per other metric that changes in training, under the name in the log."""
    shown = {
        find(by_name, metric, **where)
        for by_name in curves
        for metric, _, _ in _CURVES
        for where in ({}, {"evaluation": True}, {"judge": True})
    }
    metrics = dict.fromkeys(name for by_name in curves for name in by_name)
    charts = []
    for metric in sorted(metrics):
        lines = [by_name.get(metric, Curve([], [])) for by_name in curves]
        if metric not in shown and any(len(set(line.values)) > 1 for line in lines):
            traces = [
                trace for run, line in enumerate(lines) for trace in _line(names[run], run, reduced(line), _NUMBER)
            ]
            charts.append(_over_runs(metric, traces, names, lines, _NUMBER))
    return charts


def _metric_chart(
    names: Sequence[str], curves: Sequence[Curves], metric: str, title: str, tick_format: str
) -> Chart | None:
    traces: list[dict[str, Any]] = []
    lines = []
    for run, by_name in enumerate(curves):
        line = by_name.get(find(by_name, metric) or "", Curve([], []))
        lines.append(line)
        traces += _line(names[run], run, reduced(line), tick_format)
        for judge in (False, True):
            evaluation = by_name.get(find(by_name, metric, evaluation=True, judge=judge) or "")
            if evaluation:
                traces.append(_evaluation(names[run], run, reduced(evaluation), tick_format, judge=judge))
    if not any(any(trace["y"]) for trace in traces):
        return None
    return _over_runs(title, traces, names, lines, tick_format)


def _over_runs(
    title: str, traces: list[dict[str, Any]], names: Sequence[str], lines: Sequence[Curve], tick_format: str
) -> Chart:
    y_axis: dict[str, Any] = {"tickformat": tick_format}
    if tick_format:
        y_axis["rangemode"] = "tozero"
    texts = [_in_words(name, line, tick_format) for name, line in zip(names, lines, strict=True) if line.steps]
    return Chart(title, figure_over_steps(traces, y_axis), texts, sorted({trace["meta"]["run"] for trace in traces}))


def _in_words(name: str, line: Curve, tick_format: str) -> str:
    start, end = line.ends
    form = ".1%" if tick_format else _common_form(start, end)
    words = f"{name}: {start:{form}} → {end:{form}}"
    middle = line.halfway(_CLEAR_CHANGE) if tick_format else None
    return words if middle is None else f"{words}, half of it by step {middle:g}"


def _common_form(*numbers: float) -> str:
    """As many decimals for all as show three digits of the largest."""
    largest = max(map(abs, numbers))
    if largest == 0:
        return ".0f"
    size = floor(log10(largest))
    return f".{max(0, 2 - size)}f" if -4 <= size <= 6 else ".3g"


def share_steps(charts: Sequence[Chart], curves: Sequence[Curves]) -> None:
    """Give charts over steps the same axis: from the first to the last step of all runs."""
    ends = [step for by_name in curves for curve in by_name.values() for step in (curve.steps[0], curve.steps[-1])]
    if not ends:
        return
    first, last = min(ends), max(ends)
    room = (last - first) / 40 or 1
    for chart in charts:
        chart.figure["layout"]["xaxis"]["range"] = [first - room, last + room]


def _line(name: str, run: int, curve: Curve, tick_format: str) -> list[dict[str, Any]]:
    """A run's line, between its extremes if it was reduced."""
    if not curve.steps:
        return []
    line = {
        "type": "scatter",
        "mode": "lines" if len(curve.steps) > 1 else "markers",
        "name": text(name),
        "x": _short(curve.steps),
        "y": _short(curve.values),
        "line": {"width": 2, "dash": DASHES[run % len(DASHES)]},
        "marker": {"symbol": SYMBOLS[run % len(SYMBOLS)], "size": 8},
        "hovertemplate": "%{y:" + (".1%" if tick_format else ".4g") + "}",
        "meta": _meta(run, "line"),
    }
    if not curve.low:
        return [line]
    edge = {"type": "scatter", "mode": "lines", "x": line["x"], "line": {"width": 0}, "hoverinfo": "skip"}
    return [
        {**edge, "y": _short(curve.low), "meta": _meta(run, "low")},
        {**edge, "y": _short(curve.high), "meta": _meta(run, "high"), "fill": "tonexty"},
        line,
    ]


def _evaluation(name: str, run: int, curve: Curve, tick_format: str, *, judge: bool) -> dict[str, Any]:
    """Evaluations as points: those of the reward's guard open, those of an independent judge filled."""
    symbol = SYMBOLS[run % len(SYMBOLS)]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": f"{text(name)}, evaluation" + (" by the judge" if judge else ""),
        "x": _short(curve.steps),
        "y": _short(curve.values),
        "marker": {"symbol": symbol if judge else f"{symbol}-open", "size": 8, "line": {"width": 2}},
        # The box over a step also has points of steps beside it.
        "hovertemplate": "%{y:" + (".1%" if tick_format else ".4g") + "} at step %{x}",
        "meta": _meta(run, "evaluation"),
    }


def category_charts(names: Sequence[str], curves: Sequence[Curves]) -> list[Chart]:
    """Per run: the fraction of rollouts in each unsafe category over training, stacked.

    The commonest categories have their own area, the others one together.
    """
    series = [_categories(by_name) for by_name in curves]
    sums: dict[str, float] = {}
    for by_category in series:
        for category, curve in by_category.items():
            sums[category] = sums.get(category, 0.0) + sum(curve.values) / len(curve.values)
    order = sorted(sums, key=lambda category: -sums[category])
    own, rest = order[:_MAX_CATEGORIES], order[_MAX_CATEGORIES:]
    charts = []
    for run, by_category in enumerate(series):
        areas = {category: by_category[category] for category in own if category in by_category}
        others = [by_category[category] for category in rest if category in by_category]
        if others:
            areas[f"{len(others)} others"] = _sum(others)
        if areas:
            traces = [
                _area(
                    category,
                    own.index(category) if category in own else len(own),
                    run,
                    reduced(curve, _CATEGORY_POINTS),
                )
                for category, curve in areas.items()
            ]
            figure = figure_over_steps(traces, {"tickformat": _PERCENT, "rangemode": "tozero"}, height=400, legend=True)
            texts = [_in_words(category, curve, _PERCENT) for category, curve in areas.items()]
            known = [category if category in own else "" for category in areas]
            charts.append(Chart(names[run], figure, texts, [run], known))
    return charts


def _categories(curves: Curves) -> dict[str, Curve]:
    """By category, of those that occurred."""
    found: dict[str, Curve] = {}
    for name, curve in curves.items():
        before, marker, category = name.partition("category/")
        if marker and not name.startswith("eval_") and before.count("/") <= 1 and any(curve.values):
            found.setdefault(category, curve)  # of the run's guard, which comes first
    return found


def _sum(curves: Sequence[Curve]) -> Curve:
    total: dict[float, float] = {}
    for curve in curves:
        for step, value in zip(curve.steps, curve.values, strict=True):
            total[step] = total.get(step, 0.0) + value
    return Curve(sorted(total), [total[step] for step in sorted(total)])


def _area(category: str, position: int, run: int, curve: Curve) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "stackgroup": "categories",
        "name": text(category),
        "x": _short(curve.steps),
        "y": _short(curve.values),
        "line": {"width": 1},
        "fillpattern": {"shape": _FILLS[position % len(_FILLS)], "size": 8, "solidity": 0.25},
        "hovertemplate": "%{y:.1%}",
        "meta": {"series": position, "run": run, "role": "area"},
    }


def figure_over_steps(
    data: list[dict[str, Any]], y_axis: Mapping[str, Any], height: int = 230, *, legend: bool = False
) -> dict[str, Any]:
    """Traces over the trainer's steps."""
    layout = {
        "height": height,
        "xaxis": {"title": {"text": "step", "standoff": 4}, "unifiedhovertitle": {"text": "step %{x}"}},
        "yaxis": dict(y_axis),
        "hovermode": "x unified",
        "showlegend": legend,
        "legend": {"orientation": "h", "x": 0, "y": -0.2, "yanchor": "top"},
        "margin": {"l": 48, "r": 12, "t": 12, "b": 40},
    }
    return {"data": data, "layout": layout}


def _meta(run: int, role: str) -> dict[str, Any]:
    return {"series": run, "run": run, "role": role}


def _short(values: Sequence[float]) -> list[float]:
    """Five digits are more than a chart shows; a page of 60 metrics needs half the space."""
    return [int(value) if value.is_integer() else float(f"{value:.5g}") for value in map(float, values)]
