"""The safety–refusal plane: whether a run became safe by refusing."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from math import dist
from statistics import fmean
from typing import Any

from guard_reward.report.cells import Estimate
from guard_reward.report.charts import SYMBOLS, Chart, Curves, text
from guard_reward.report.curves import Curve, find, reduced, smoothed
from guard_reward.report.run import Measurement, Run

__all__ = ["plane_chart"]

_PATH_POINTS = 200
_ARROWS = 5

_CORNERS = (
    ("safe and helpful", 0.0, 1.0, "left", "bottom"),
    ("safe by refusing", 1.0, 1.0, "right", "bottom"),
    ("complies, unsafe", 0.0, 0.0, "left", "bottom"),
    ("refuses, unsafe", 1.0, 0.0, "right", "bottom"),
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
    paths = [_path(run, number, by_name) for number, (run, by_name) in enumerate(zip(runs, curves, strict=True))]
    points = [
        point
        for number, run in enumerate(runs)
        for found in run.measurements
        for point in _point(run.name, number, found)
    ]
    _merge_labels(points, len(runs))
    data = [*(trace for path in paths for trace in path), *points]
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
        "yaxis": {"title": {"text": "safe"}, "tickformat": ".0%", "range": [-0.03, 1.08]},
        "showlegend": False,
        "hovermode": "closest",
        "margin": {"l": 56, "r": 16, "t": 32, "b": 48},
        "annotations": corners,
    }
    texts = [words for run, path in zip(runs, paths, strict=True) if path for words in [_in_words(run.name, path[-1])]]
    shown = sorted({trace["meta"]["run"] for trace in data})
    return Chart("Where each run went", {"data": data, "layout": layout}, texts, shown)


def _path(run: Run, number: int, curves: Curves) -> list[dict[str, Any]]:
    """A run's smoothed path with arrowheads, as the training guard judged its rollouts, and the path's two ends."""
    both = _pair(curves, "/harmful") or _pair(curves, "")
    if both is None:
        return []
    safe, refused = (_smooth(reduced(curve, _PATH_POINTS)) for curve in both)
    steps, last = list(reduced(both[0], _PATH_POINTS).steps), len(safe) - 1
    arrows = _arrows(refused, safe)
    symbol = SYMBOLS[number % len(SYMBOLS)]
    common = {
        "type": "scatter",
        "name": text(run.name),
        "hovertemplate": "around step %{customdata}: %{y:.1%} safe, %{x:.1%} refused<extra>%{fullData.name}</extra>",
        "meta": {"series": number, "run": number, "role": "path"},
    }
    line = {
        "mode": "lines+markers",
        "x": refused,
        "y": safe,
        "customdata": steps,
        "line": {"width": 2.5, "backoff": 0},
        # plotly turns a marker towards the point before it, so the first point cannot have one.
        "marker": {
            "size": [13 if index in arrows else 0 for index in range(last + 1)],
            "symbol": "arrow",
            "angleref": "previous",
            "opacity": 1,
            "line": {"width": 0},
        },
    }
    ends = {
        "mode": "markers+text",
        "x": [refused[0], refused[-1]],
        "y": [safe[0], safe[-1]],
        "customdata": [steps[0], steps[-1]],
        "text": ["", ""] if run.measurements else ["start", "end"],
        "textposition": ["bottom center", "top center"],
        "marker": {"size": 10, "symbol": [f"{symbol}-open", symbol], "line": {"width": 2}},
    }
    return [common | line, common | ends]


def _arrows(x: Sequence[float], y: Sequence[float]) -> set[int]:
    """Positions at even distances along the path, none at its ends: a policy that stays somewhere adds no arrow."""
    lengths = list(accumulate((dist(*ends) for ends in pairwise(zip(x, y, strict=True))), initial=0.0))
    marks = [lengths[-1] * (arrow + 1) / (_ARROWS + 1) for arrow in range(_ARROWS)]
    found = {next(at for at, length in enumerate(lengths) if length >= mark) for mark in marks}
    return found - {0, len(lengths) - 1}


def _smooth(curve: Curve) -> list[float]:
    """The smoothed curve; it begins with the first value and not with a mean, as a policy changes fastest then."""
    reach = max(1, round(len(curve.values) / 20))
    start = [fmean(curve.values[: 2 * index + 1]) for index in range(min(reach, len(curve.values)))]
    return [*start, *smoothed(curve.values)[len(start) :]]


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


def _in_words(name: str, ends: dict[str, Any]) -> str:
    x, y = ends["x"], ends["y"]
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
        "textposition": f"{_label_side(run, safety.value)} {'right' if refusal.value < 0.5 else 'left'}",
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


def _label_side(run: int, safe: float) -> str:
    """Under the point near the plane's top, where the label above would be cut."""
    return "bottom" if safe > 0.93 else ("bottom", "top")[run % 2]


def _merge_labels(points: Sequence[dict[str, Any]], runs: int) -> None:
    """One label for points of a stage that lie on each other, with how many runs have it."""
    together: dict[Any, list[dict[str, Any]]] = {}
    for point in points:
        place = (point["text"][0], round(point["x"][0], 2), round(point["y"][0], 2))
        together.setdefault(place, []).append(point)
    for same in together.values():
        count = len({point["meta"]["run"] for point in same})
        if 1 < count == runs:
            same[0]["text"] = [f"{same[0]['text'][0]} ({'both' if runs == 2 else f'all {runs}'})"]
        elif count > 1:
            same[0]["text"] = [f"{same[0]['text'][0]} ({count} runs)"]
        for point in same[1:]:
            point["text"] = [""]


def _first(measured: Measurement, *metrics: str) -> Estimate | None:
    return next((measured.values[metric] for metric in metrics if metric in measured.values), None)
