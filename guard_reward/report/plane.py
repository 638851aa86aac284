"""The safety–refusal plane: whether a run became safe by refusing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from guard_reward.report.cells import Estimate
from guard_reward.report.charts import SYMBOLS, Chart, Curves, text
from guard_reward.report.curves import Curve, find, reduced
from guard_reward.report.run import Measurement, Run

__all__ = ["plane_chart"]

# A path of so many means is smooth and still shows where a run turned.
_PATH_POINTS = 15
_ARROW_EVERY = 3

_CORNERS = (
    ("safe and helpful", 0.0, 1.0, "left", "bottom"),
    ("safe by refusing", 1.0, 1.0, "right", "bottom"),
    ("unsafe, refuses nothing", 0.0, 0.0, "left", "bottom"),
    ("refuses, and unsafe", 1.0, 0.0, "right", "bottom"),
)


def plane_chart(runs: Sequence[Run], curves: Sequence[Curves]) -> Chart | None:
    """Each run's path through training, as the training guard judged it, and what was measured before and after.

    Safety upwards, refusals to the right; on harmful prompts if prompts are labelled.

    Args:
        runs: of the page.
        curves: of each run.

    Returns:
        None if no run has both rates.
    """
    paths = [_path(run.name, number, by_name) for number, (run, by_name) in enumerate(zip(runs, curves, strict=True))]
    points = [
        point for number, run in enumerate(runs) for found in run.measurements for point in _point(run.name, number, found)
    ]
    data = [trace for trace in (*paths, *points) if trace is not None]
    if not data:
        return None
    corners = [
        {"text": words, "x": x, "y": y, "xanchor": x_anchor, "yanchor": y_anchor, "xref": "paper", "yref": "paper"}
        | {"showarrow": False, "opacity": 0.85, "borderpad": 4}
        for words, x, y, x_anchor, y_anchor in _CORNERS
    ]
    layout = {
        "height": 480,
        "xaxis": {"title": {"text": "refused"}, "tickformat": ".0%", "range": [-0.03, 1.03]},
        "yaxis": {"title": {"text": "safe"}, "tickformat": ".0%", "range": [-0.03, 1.03]},
        "showlegend": False,
        "hovermode": "closest",
        "margin": {"l": 56, "r": 16, "t": 32, "b": 48},
        "annotations": corners,
    }
    texts = [words for run, trace in zip(runs, paths, strict=True) if trace for words in [_in_words(run.name, trace)]]
    shown = sorted({trace["meta"]["run"] for trace in data})
    return Chart("Where each run went", {"data": data, "layout": layout}, texts, shown)


def _path(name: str, run: int, curves: Curves) -> dict[str, Any] | None:
    """A run's smoothed path with arrowheads, as the training guard judged its rollouts."""
    both = _pair(curves, "/harmful") or _pair(curves, "")
    if both is None:
        return None
    safe, refused = (reduced(curve, _PATH_POINTS) for curve in both)
    count = len(safe.steps)
    arrows = [0 < index < count - 1 and index % _ARROW_EVERY == 0 for index in range(count)]
    ends = [index in (0, count - 1) for index in range(count)]
    symbol = SYMBOLS[run % len(SYMBOLS)]
    symbols = ["arrow" if arrow else symbol for arrow in arrows]
    symbols[0] = f"{symbol}-open"
    return {
        "type": "scatter",
        "mode": "lines+markers+text",
        "name": text(name),
        "x": list(refused.values),
        "y": list(safe.values),
        "text": ["start", *[""] * (count - 2), "end"] if count > 1 else ["start"],
        "textposition": ["bottom center" if index == 0 else "top center" for index in range(count)],
        "customdata": list(safe.steps),
        "line": {"width": 2.5, "shape": "spline", "smoothing": 0.8},
        "marker": {
            "size": [11 if end else 13 if arrow else 0 for end, arrow in zip(ends, arrows, strict=True)],
            "symbol": symbols,
            "angleref": "previous",
            "line": {"width": [2 if end else 0 for end in ends]},
            "opacity": 1,
        },
        "hovertemplate": "around step %{customdata}: %{y:.1%} safe, %{x:.1%} refused<extra>%{fullData.name}</extra>",
        "meta": {"series": run, "run": run, "role": "path"},
    }


def _pair(curves: Curves, ending: str) -> tuple[Curve, Curve] | None:
    """Safety and refusals at the steps that have both."""
    safe = curves.get(find(curves, f"safe_rate{ending}") or "")
    refused = curves.get(find(curves, f"refusal_rate{ending}") or "")
    if not safe or not refused:
        return None
    safe_at, refused_at = (dict(zip(curve.steps, curve.values, strict=True)) for curve in (safe, refused))
    steps = [step for step in safe.steps if step in refused_at]
    if not steps:
        return None
    return Curve(steps, [safe_at[step] for step in steps]), Curve(steps, [refused_at[step] for step in steps])


def _in_words(name: str, path: dict[str, Any]) -> str:
    x, y = path["x"], path["y"]
    return f"{name}: {y[0]:.0%} safe and {x[0]:.0%} refused → {y[-1]:.0%} safe and {x[-1]:.0%} refused"


def _point(name: str, run: int, measured: Measurement) -> list[dict[str, Any]]:
    """A measurement with its intervals; open before training, filled afterwards."""
    safety = _first(measured, "safety_rate", "safe_rate_harmful", "safe_rate")
    refusal = _first(measured, "refusal_rate_harmful", "refusal_rate")
    if safety is None or refusal is None:
        return []
    symbol = SYMBOLS[run % len(SYMBOLS)]
    trace: dict[str, Any] = {
        "type": "scatter",
        "mode": "markers+text",
        "name": f"{text(name)}, {text(measured.stage)}",
        "text": [text(measured.stage)],
        "textposition": "middle right" if refusal.value < 0.5 else "middle left",
        "x": [refusal.value],
        "y": [safety.value],
        "marker": {
            "size": 15,
            "symbol": f"{symbol}-open" if measured.stage == "before" else symbol,
            "line": {"width": 2.5},
        },
        "customdata": [text(measured.judged_by)],
        "hovertemplate": "%{y:.1%} safe, %{x:.1%} refused<br>%{customdata}<extra>%{fullData.name}</extra>",
        "meta": {"series": run, "run": run, "role": "point"},
    }
    for axis, found in (("error_x", refusal), ("error_y", safety)):
        if found.low is not None and found.high is not None:
            above, below = max(found.high - found.value, 0.0), max(found.value - found.low, 0.0)
            trace[axis] = {"type": "data", "array": [above], "arrayminus": [below], "thickness": 1.5}
    return [trace]


def _first(measured: Measurement, *metrics: str) -> Estimate | None:
    return next((measured.values[metric] for metric in metrics if metric in measured.values), None)
