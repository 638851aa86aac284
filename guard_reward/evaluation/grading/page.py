"""A grade as one HTML page: numbers, precision–recall curves, reliability with and without a temperature, confusion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from guard_reward.evaluation.grading.calibration import Calibration, Reliability
from guard_reward.evaluation.grading.classification import METRICS, Scores
from guard_reward.evaluation.grading.grade import Confusion, Grade, ModeGrade, TaskGrade
from guard_reward.report.figures import Chart, Section, write_figures
from guard_reward.statistics import Estimate

__all__ = ["write_grade_report"]

_TITLES = {"prompt_harm": "Harm of prompts", "response_harm": "Harm of responses", "refusal": "Refusals"}
_MARGIN = {"l": 64, "r": 16, "t": 24, "b": 48}


def write_grade_report(path: Path, grade: Grade) -> Path:
    """Write the page.

    Raises:
        ModuleNotFoundError: without plotly or jinja2 (extra ``report``).
    """
    sections = [section for name, task in grade.tasks.items() for section in _sections(name, task)]
    settings = grade.settings
    facts = {
        **grade.guard,
        "partial refusals count as": settings.partial.value,
        "bootstrap": f"{settings.resamples} samples, seed {settings.seed}",
        **{f"not graded: {reason}": str(count) for reason, count in grade.skipped.items()},
    }
    return write_figures(
        path, title=f"How good is {grade.guard.get('guard', 'the guard')}?", sections=sections, facts=facts
    )


def _sections(name: str, task: TaskGrade) -> list[Section]:
    title = _TITLES[name]
    labels = ", ".join(f"{count:,} {label}" for label, count in task.labels.items())
    unjudged = "".join(f" Without a verdict: {count:,}, {reason}." for reason, count in task.unjudged.items())
    charts = [_confusion_chart(task.confusion)] if task.confusion else []
    curves = {mode: found for mode, found in task.modes.items() if found.curve is not None}
    if curves:
        charts.append(_curve_chart(curves))
    charts += [_reliability_chart(mode, it.calibration) for mode, it in task.modes.items() if it.calibration]
    rows = [_row(mode, found.overall) for mode, found in task.modes.items()]
    found = [Section(title, f"{task.rows:,} rows: {labels}.{unjudged}", _HEADINGS, rows, charts)]
    for kind in ("source", "language", "category"):
        rows = [
            _row(f"{group}, {mode}" if len(task.modes) > 1 else group, scores)
            for mode, mode_grade in task.modes.items()
            for group, scores in mode_grade.by[kind].items()
        ]
        if rows:
            found.append(Section(f"{title}, by {kind}", "", _HEADINGS, rows, []))
    return found


_HEADINGS = ["", "rows", "precision", "recall", "F1", "accuracy", "false positives", "TP", "FP", "TN", "FN"]


def _row(name: str, scores: Scores) -> list[str]:
    counts = (scores.true_positives, scores.false_positives, scores.true_negatives, scores.false_negatives)
    return [
        name,
        f"{scores.rows:,}",
        *(_shown(getattr(scores, metric)) for metric in METRICS),
        *(f"{count:,}" for count in counts),
    ]


def _shown(value: Estimate | None) -> str:
    return "–" if value is None else f"{value.value:.1%} ({100 * value.low:.1f}–{100 * value.high:.1f})"


def _confusion_chart(confusion: Confusion) -> Chart:
    heat = {
        "type": "heatmap",
        "x": confusion.verdicts,
        "y": confusion.labels,
        "z": confusion.counts,
        "text": confusion.counts,
        "texttemplate": "%{text:,}",
        "colorscale": "Blues",
        "showscale": False,
        "hovertemplate": "label %{y}, verdict %{x}: %{z}<extra></extra>",
    }
    layout = {"height": 320, "margin": _MARGIN, "xaxis": _axis("verdict"), "yaxis": _axis("label")}
    return Chart("Labels and verdicts", {"data": [heat], "layout": layout})


def _curve_chart(modes: dict[str, ModeGrade]) -> Chart:
    data = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": f"{mode}, average precision {found.curve.average_precision:.3f}",
            "x": found.curve.recall,
            "y": found.curve.precision,
            "line": {"shape": "hv"},
        }
        for mode, found in modes.items()
        if found.curve is not None
    ]
    shares: dict[str, Any] = {"range": [0, 1.02], "tickformat": ".0%"}
    layout = {
        "height": 360,
        "margin": _MARGIN,
        "xaxis": _axis("recall") | shares,
        "yaxis": _axis("precision") | shares,
        "legend": {"orientation": "h", "y": -0.25},
        "showlegend": True,
    }
    return Chart("Precision and recall at every threshold", {"data": data, "layout": layout})


def _reliability_chart(mode: str, calibration: Calibration) -> Chart:
    diagonal = {
        "type": "scatter",
        "mode": "lines",
        "x": [0, 1],
        "y": [0, 1],
        "line": {"dash": "dot"},
        "name": "perfect",
    }
    after = f"temperature {calibration.temperature:.2f}"
    lines = [_reliability_line("as it is", calibration.before), _reliability_line(after, calibration.after)]
    layout = {
        "height": 360,
        "margin": _MARGIN,
        "xaxis": _axis("mean probability") | {"range": [0, 1.02]},
        "yaxis": _axis("share of positive rows") | {"range": [0, 1.02]},
        "legend": {"orientation": "h", "y": -0.25},
        "showlegend": True,
    }
    return Chart(f"Reliability, {mode}", {"data": [diagonal, *lines], "layout": layout})


def _reliability_line(name: str, found: Reliability) -> dict[str, Any]:
    points = [(x, y, n) for x, y, n in zip(found.probabilities, found.shares, found.rows, strict=True) if n]
    x, y, rows = (list(values) for values in zip(*points, strict=True))
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": f"{name}: ECE {found.ece:.3f}, Brier {found.brier:.3f}",
        "x": x,
        "y": y,
        "customdata": rows,
        "hovertemplate": "P = %{x:.2f}: %{y:.1%} of %{customdata} rows<extra></extra>",
    }


def _axis(title: str) -> dict[str, Any]:
    return {"title": {"text": title, "standoff": 4}}
