"""Training histories and results as plotly figures: plain ``{"data": […], "layout": {…}}``, without the page's colours.

All texts in a figure are escaped: plotly renders a subset of HTML in names and labels, and some of them (categories
that a guard made up, names of runs) come from outside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

from guard_reward.log_lines import exact_rates, is_total
from guard_reward.report.cells import estimate

__all__ = ["Chart", "category_charts", "curve_charts", "exact_histories", "plane_chart", "run_colours"]

Histories = Mapping[str, Sequence[Mapping[str, Any]]]
"""By run: what the trainer logged, one mapping a logging step (``trainer.state.log_history``)."""

# Told apart by people with colour blindness too, on a light and on a dark page.
_PALETTE = ("#3b82d6", "#e08a2e", "#2a9d74", "#b565c9", "#d4526a", "#8a8f2b", "#1fa3b8", "#9a7557")
_BEFORE = "#8b929c"

_PERCENT = ".0%"
_NUMBER = ""

# (metric, title, axis format); a metric is found under its own name or behind a reward's prefix ("guard/safe_rate").
_CURVES = (
    ("reward", "Reward", _NUMBER),
    ("safe_rate", "Safe", _PERCENT),
    ("unsafe_rate", "Unsafe", _PERCENT),
    ("controversial_rate", "Controversial", _PERCENT),
    ("refusal_rate/harmful", "Refusals of harmful prompts", _PERCENT),
    ("refusal_rate/benign", "Refusals of benign prompts", _PERCENT),
    ("refusal_rate", "Refusals", _PERCENT),
    ("helpfulness", "Helpfulness", _NUMBER),
    ("kl", "KL from the reference policy", _NUMBER),
    ("completions/mean_length", "Completion length, tokens", _NUMBER),
    ("outcome/no_verdict", "Rows without a verdict", _PERCENT),
    ("outcome/guard_error", "Rows that the guard could not be asked about", _PERCENT),
)


def exact_histories(histories: Histories) -> Histories:
    """The same log lines with exact rates in place of the means of the calls' rates, and without their totals."""
    return {
        run: [
            {name: value for name, value in line.items() if not is_total(name)} | exact_rates(line) for line in history
        ]
        for run, history in histories.items()
    }


class Chart(NamedTuple):
    """A figure and the words around it."""

    title: str
    figure: dict[str, Any]


def run_colours(runs: Sequence[str]) -> dict[str, str]:
    """One colour per run, the same in all charts; grey for the state before training."""
    trained = [run for run in runs if run != "before"]
    return {"before": _BEFORE} | {run: _PALETTE[index % len(_PALETTE)] for index, run in enumerate(trained)}


def curve_charts(histories: Histories, colours: Mapping[str, str]) -> list[Chart]:
    """One chart per metric, with a line per run that logged it; metrics that are always 0 are left out."""
    charts = []
    for metric, title, tick_format in _CURVES:
        lines = {run: _series(history, metric) for run, history in histories.items()}
        if not any(any(values) for _, values in lines.values()):
            continue
        data = [
            {
                "type": "scatter",
                "mode": "lines" if len(steps) > 1 else "markers",
                "name": escape(run),
                "x": steps,
                "y": values,
                "line": {"color": colours[run], "width": 2},
                "hovertemplate": "%{y:" + (".1%" if tick_format else ".4g") + "}",
            }
            for run, (steps, values) in lines.items()
            if steps
        ]
        y_axis: dict[str, Any] = {"tickformat": tick_format}
        if tick_format:
            y_axis["rangemode"] = "tozero"
        charts.append(Chart(title, _figure(data, _over_steps(y_axis))))
    return charts


def category_charts(histories: Histories) -> list[Chart]:
    """Per run: the fraction of rollouts in each unsafe category over training, stacked."""
    series = {run: _category_series(history) for run, history in histories.items()}
    names = list(dict.fromkeys(name for by_name in series.values() for name in by_name))
    colours = {name: _PALETTE[index % len(_PALETTE)] for index, name in enumerate(names)}
    return [
        Chart(
            run,
            _figure(
                [
                    {
                        "type": "scatter",
                        "mode": "lines",
                        "stackgroup": "categories",
                        "name": escape(name),
                        "x": steps,
                        "y": values,
                        "line": {"color": colours[name], "width": 1},
                        "hovertemplate": "%{y:.1%}",
                    }
                    for name, (steps, values) in by_name.items()
                ],
                _over_steps({"tickformat": _PERCENT, "rangemode": "tozero"}, height=380, legend_below=True),
            ),
        )
        for run, by_name in series.items()
        if by_name
    ]


def plane_chart(table: Sequence[Mapping[str, Any]], histories: Histories, colours: Mapping[str, str]) -> Chart | None:
    """Safety against refusals: each run's path through training, and the results with their intervals."""
    paths = [_path(run, history, colours[run]) for run, history in histories.items()]
    points = [_point(row, colours) for row in table]
    data = [trace for trace in (*paths, *points) if trace is not None]
    if not data:
        return None
    corner = {"showarrow": False, "xref": "paper", "yref": "paper", "y": 1.0, "yanchor": "bottom", "opacity": 0.7}
    layout = {
        "height": 460,
        "xaxis": {"title": {"text": "refusals of harmful prompts"}, "tickformat": _PERCENT, "range": [-0.03, 1.03]},
        "yaxis": {"title": {"text": "safe replies"}, "tickformat": _PERCENT, "range": [-0.03, 1.05]},
        "legend": {"orientation": "h", "y": -0.2},
        "margin": {"l": 64, "r": 16, "t": 28, "b": 48},
        "annotations": [
            {**corner, "text": "↖ safe and helpful", "x": 0.0, "xanchor": "left"},
            {**corner, "text": "safe by refusing ↗", "x": 1.0, "xanchor": "right"},
        ],
    }
    return Chart("Safety and refusals", _figure(data, layout))


def _path(run: str, history: Sequence[Mapping[str, Any]], colour: str) -> dict[str, Any] | None:
    """A run's path through the plane, measured by the guard; on harmful prompts if prompts are labelled."""
    safe = _pairs(history, "safe_rate/harmful") or _pairs(history, "safe_rate")
    refusal = _pairs(history, "refusal_rate/harmful") or _pairs(history, "refusal_rate")
    steps = sorted(safe.keys() & refusal.keys())
    if not steps:
        return None
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": f"{escape(run)}, during training",
        "x": [refusal[step] for step in steps],
        "y": [safe[step] for step in steps],
        "customdata": steps,
        "line": {"color": colour, "width": 1.5},
        "marker": {"size": 4, "color": colour},
        "opacity": 0.55,
        "hovertemplate": "step %{customdata}: %{y:.1%} safe, %{x:.1%} refused<extra></extra>",
    }


def _point(row: Mapping[str, Any], colours: Mapping[str, str]) -> dict[str, Any] | None:
    refusal = estimate(row.get("refusal_rate_harmful", row.get("refusal_rate")))
    safety = estimate(row.get("safety_rate"))
    if refusal is None or safety is None:
        return None
    run = str(row.get("run", ""))
    colour = colours.get(run, _BEFORE)
    trace: dict[str, Any] = {
        "type": "scatter",
        "mode": "markers",
        "name": escape(run),
        "x": [refusal.value],
        "y": [safety.value],
        "marker": {"size": 15, "color": colour, "symbol": "circle", "line": {"width": 2, "color": "white"}},
        "hovertemplate": f"{escape(run)}: " + "%{y:.1%} safe, %{x:.1%} refused<extra></extra>",
    }
    for axis, found in (("error_x", refusal), ("error_y", safety)):
        if found.low is not None and found.high is not None:
            above, below = found.high - found.value, found.value - found.low
            trace[axis] = {"type": "data", "array": [above], "arrayminus": [below], "color": colour, "thickness": 1.5}
    return trace


def _category_series(history: Sequence[Mapping[str, Any]]) -> dict[str, tuple[list[float], list[float]]]:
    """By category, of those that occurred: steps and shares."""
    marker = "category/"
    names = {key.partition(marker)[2]: None for entry in history for key in entry if _is_metric(key, marker)}
    series = {name: _series(history, marker + name) for name in names}
    return {name: (steps, values) for name, (steps, values) in series.items() if any(values)}


def _is_metric(key: str, start: str) -> bool:
    return not key.startswith("eval_") and (key.startswith(start) or f"/{start}" in key)


def _pairs(history: Sequence[Mapping[str, Any]], metric: str) -> dict[float, float]:
    """A metric's finite values by step, in training."""
    pairs = {}
    for position, entry in enumerate(history):
        step = estimate(entry.get("step", position))
        for key, cell in entry.items():
            if key == metric or (key.endswith(f"/{metric}") and not key.startswith("eval_")):
                value = estimate(cell)
                if value is not None and step is not None:
                    pairs[step.value] = value.value
                break
    return pairs


def _series(history: Sequence[Mapping[str, Any]], metric: str) -> tuple[list[float], list[float]]:
    pairs = _pairs(history, metric)
    return list(pairs), list(pairs.values())


def _over_steps(y_axis: Mapping[str, Any], height: int = 240, *, legend_below: bool = False) -> dict[str, Any]:
    place = {"y": -0.2, "yanchor": "top"} if legend_below else {"y": 1.02, "yanchor": "bottom"}
    return {
        "height": height,
        "xaxis": {"title": {"text": "step", "standoff": 4}},
        "yaxis": dict(y_axis),
        "hovermode": "x unified",
        "showlegend": True,
        "legend": {"orientation": "h", "x": 0, **place},
        "margin": {"l": 52, "r": 12, "t": 12, "b": 40},
    }


def _figure(data: list[dict[str, Any]], layout: dict[str, Any]) -> dict[str, Any]:
    return {"data": data, "layout": layout}
