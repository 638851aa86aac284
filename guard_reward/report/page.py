"""Putting the report together.

Rollouts are untrusted text: a policy can write a script tag as well as anything else. The template escapes every value,
and the page's own policy (Content-Security-Policy) lets nothing run but the report's two scripts, by their hashes.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guard_reward.files import replacing
from guard_reward.report.cells import estimate, is_rate, label, text_of, union_of_keys
from guard_reward.report.charts import (
    Histories,
    category_charts,
    curve_charts,
    exact_histories,
    plane_chart,
    run_colours,
)

__all__ = ["csp_hash", "template_environment", "template_source", "write_report"]

if TYPE_CHECKING:
    from jinja2 import Environment

# A browser cannot filter more rollouts while the user types; the page says how many are left out.
MAX_ROLLOUTS = 3000

# Columns of the rollouts table that come first; behind a reward's prefix ("guard_severity") too.
_FIRST_COLUMNS = (
    "run",
    "step",
    "severity",
    "categories",
    "refusal",
    "outcome",
    "reward",
    "p_unsafe",
    "prompt",
    "completion",
)


def write_report(
    path: str | Path,
    *,
    title: str,
    table: Sequence[Mapping[str, Any]] = (),
    histories: Histories | None = None,
    rollouts: Sequence[Mapping[str, Any]] = (),
    facts: Mapping[str, str] | None = None,
) -> Path:
    """Write one self-contained HTML file (about 5 MB: plotly's script is in it) and return its path.

    Args:
        path: of the file to write.
        title: of the page.
        table: the headline results, one row per run: ``{"run": "before", "safety_rate": {"value": 0.5, "low": 0.45,
            "high": 0.55}, …}``; or plain numbers. Keys with ``rate``, ``share`` or ``agreement`` are in [0, 1].
        histories: by run, what the trainer logged (``trainer.state.log_history``); rates are shown exactly
            (`guard_reward.exact_rates`).
        rollouts: rows of the rollouts table; any columns, those of TRL's completions table and ``run`` come first.
        facts: what the numbers depend on: guard, revision, scheme, versions.

    Raises:
        ModuleNotFoundError: without plotly (``pip install 'guard-reward[report]'``).
    """
    from plotly.offline import get_plotlyjs

    histories = exact_histories(histories or {})
    colours = run_colours(list(dict.fromkeys([*(str(row.get("run", "")) for row in table), *histories])))
    charts = {
        "plane": [chart for chart in [plane_chart(table, histories, colours)] if chart],
        "curves": curve_charts(histories, colours),
        "categories": category_charts(histories),
    }
    environment = template_environment()
    style, script = (template_source(environment, name) for name in ("report.css", "report.js"))
    scripts = [get_plotlyjs(), script]
    page = environment.get_template("report.html.jinja").render(
        title=title,
        style=style,
        scripts=scripts,
        script_hashes=[csp_hash(text) for text in scripts],
        charts=charts,
        figures={f"{name}-{n}": chart.figure for name, members in charts.items() for n, chart in enumerate(members)},
        results=_results(table),
        rollouts=_rollouts(rollouts),
        rollout_count=len(rollouts),
        facts=facts or {},
    )
    path = Path(path)
    with replacing(path) as part:
        # A policy can also write half a surrogate pair, which has no UTF-8.
        part.write_text(page, encoding="utf-8", errors="replace")
    return path


def template_environment() -> Environment:
    """The package's templates; every value in them is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("guard_reward.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(label=label, text_of=text_of)
    return environment


def template_source(environment: Environment, name: str) -> str:
    """A template's own text."""
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def csp_hash(script: str) -> str:
    """What the page's policy says to let a script run."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _results(table: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The headline table: its keys, and rows of cells with text, interval and the length of a rate's bar."""
    keys = [key for key in union_of_keys(table) if key != "run"]
    rows = []
    for row in table:
        cells: list[dict[str, Any]] = []
        for key in keys:
            found, as_rate = estimate(row.get(key)), is_rate(key)
            if found is None:
                cells.append({"text": text_of(row.get(key)) or "–", "interval": "", "bar": None})
            else:
                bar = min(max(found.value, 0.0), 1.0) if as_rate else None
                interval = found.interval(as_rate=as_rate)
                cells.append({"text": found.shown(as_rate=as_rate), "interval": interval, "bar": bar})
        rows.append({"run": str(row.get("run", "")), "cells": cells})
    return {"keys": keys, "rows": rows}


def _rollouts(rollouts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The rollouts table: columns in a readable order, and what the drop-downs choose from."""
    shown = rollouts[:MAX_ROLLOUTS]
    columns = sorted(union_of_keys(shown), key=_rank)
    bare = [_bare(column) for column in columns]
    severities = [column for column, name in zip(columns, bare, strict=True) if name == "severity"]
    severity = severities[0] if severities else None
    return {
        "columns": columns,
        # The prefix says nothing unless two columns differ in it.
        "headings": [
            label(name if bare.count(name) == 1 else column) for column, name in zip(columns, bare, strict=True)
        ],
        "badges": severities,
        "rows": shown,
        "severity": severity,
        "severities": _choices(shown, severity),
        "runs": _choices(shown, "run"),
    }


def _bare(column: str) -> str:
    """The name without a reward's prefix: ``severity`` of ``guard_severity``."""
    return next((name for name in _FIRST_COLUMNS if column == name or column.endswith(f"_{name}")), column)


def _rank(column: str) -> int:
    name = _bare(column)
    return _FIRST_COLUMNS.index(name) if name in _FIRST_COLUMNS else len(_FIRST_COLUMNS)


def _choices(rows: Sequence[Mapping[str, Any]], column: str | None) -> list[str]:
    return list(dict.fromkeys(text_of(row.get(column)) for row in rows)) if column is not None else []
