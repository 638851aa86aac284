"""A page of tables and plotly figures, as self-contained and as strict as a run's report.

Names of sources and categories come from files: the template escapes them, and figures get them escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from guard_reward.report.charts import Chart
from guard_reward.report.web_page import write_page

__all__ = ["Chart", "Section", "write_figures"]


class Section(NamedTuple):
    """A part of the page.

    Attributes:
        title: its heading.
        note: a line under it.
        headings, rows: of its table, as text; no table without rows.
        charts: plotly figures without colours.
    """

    title: str
    note: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    charts: Sequence[Chart]


def write_figures(path: Path, *, title: str, sections: Sequence[Section], facts: Mapping[str, str]) -> Path:
    """Write one self-contained HTML file (about 5 MB: plotly's script is in it) and return its path.

    Raises:
        ModuleNotFoundError: without plotly or jinja2 (``pip install 'guard-reward[report]'``).
    """
    charts = [(f"chart-{n}-{m}", chart) for n, part in enumerate(sections) for m, chart in enumerate(part.charts)]
    return write_page(
        path,
        "figures.html.jinja",
        ["page.js", "charts.js", "print.js"],
        title=title,
        sections=sections,
        figures={name: _escaped(chart.figure) for name, chart in charts},
        facts=facts,
    )


def _escaped(value: Any) -> Any:
    """plotly reads some HTML tags in text; here none is meant."""
    if isinstance(value, str):
        return escape(value, quote=False)
    if isinstance(value, Mapping):
        return {key: inner if key == "hovertemplate" else _escaped(inner) for key, inner in value.items()}
    return [_escaped(inner) for inner in value] if isinstance(value, list | tuple) else value
