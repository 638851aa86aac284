"""A page of tables and figures: complete, valid to plotly, and safe whatever the names are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("plotly")

import plotly.graph_objects as plotly

from guard_reward.evaluation.grading.grade import GradeSettings, grade_judgements
from guard_reward.evaluation.grading.judging import judge_rows
from guard_reward.evaluation.grading.labelled import read_rows
from guard_reward.evaluation.grading.page import write_grade_report
from guard_reward.report.charts import Chart
from guard_reward.report.figures import Section, write_figures
from tests.report.html_page import Page
from tests.scripted_guard import ScriptedGuard

ATTACK = "</script><script>alert('x')</script><img src=x onerror=alert(1)>"


def test_names_are_text_everywhere(tmp_path: Path) -> None:
    figure = {"data": [{"type": "scatter", "name": ATTACK, "x": [0], "y": [ATTACK]}], "layout": {"height": 100}}
    section = Section(ATTACK, ATTACK, ["", ATTACK], [[ATTACK, ATTACK]], [Chart(ATTACK, figure)])
    page = Page(write_figures(tmp_path / "page.html", title=ATTACK, sections=[section], facts={ATTACK: ATTACK}))
    assert len(page.scripts) == 5  # the figures, plotly, and the page's own three
    assert [tag for tag, _ in page.elements if tag == "img"] == []
    assert page.figures["chart-0-0"]["data"][0]["name"].startswith("&lt;/script&gt;")
    assert "".join(page.text).count("alert('x')") >= 6
    policy = next(attributes["content"] for tag, attributes in page.elements if attributes.get("http-equiv"))
    assert len(re.findall("'sha256-", policy or "")) == 4


def test_a_grades_figures_are_valid(tmp_path: Path) -> None:
    rows = [
        {"prompt": f"{'bomb' if number % 3 else 'fine'} {number}", "prompt_harm": bool(number % 2)}
        for number in range(60)
    ]
    judgements = judge_rows(ScriptedGuard(), read_rows((f"row {n}", row) for n, row in enumerate(rows)).rows)
    grade = grade_judgements(judgements, GradeSettings(resamples=20))
    page = Page(write_grade_report(tmp_path / "report.html", grade))
    assert len(page.figures) == 4  # confusion, curves, and reliability, strict and loose
    for name, figure in page.figures.items():
        plotly.Figure(figure)  # raises for a property that it does not have
        assert any(attributes.get("id") == name for _, attributes in page.elements)
    assert page.figures["chart-0-0"]["data"][0]["z"] == [[10, 0, 20], [0, 0, 0], [10, 0, 20]]
    assert page.figures["chart-0-1"]["data"][0]["name"].startswith("strict, average precision 0.5")
