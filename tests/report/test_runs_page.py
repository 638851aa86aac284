"""The page over runs: complete, one file, and safe to open whatever is in it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("plotly")

from guard_reward.report import Run, write_runs_page
from tests.report.html_page import Page
from tests.report.sample_runs import ATTACK, ATTACKS, hostile_run, two_runs

SUMMARY = ["It became safer.", "It costs little.", "Nothing is in doubt."]
DIFFERENCES = [("scheme", ["hybrid", "guard_only"]), ("GRPOConfig.max_length", ["512", None])]


def written(tmp_path: Path, runs: list[Run], **options: Any) -> Page:
    return Page(write_runs_page(tmp_path / "report.html", runs, title="Two runs", **options))


def text_of_page(page: Page) -> str:
    return re.sub(r"\s+", " ", " ".join(page.text))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    folder = tmp_path_factory.mktemp("page")
    return written(folder, two_runs(), summary=SUMMARY, differences=DIFFERENCES, refresh_seconds=30)


@pytest.mark.parametrize(
    "expected",
    [
        "hybrid ended, step 40 of 40",
        "guard/only still running, step 40 of 400",
        "read again every 30 s",
        "1 alarm",
        "hybrid , step 20: second_guard — A second guard finds 21% unsafe.",
        "It became safer. It costs little. Nothing is in doubt.",
        "97.0% (95.0–99.0%) was 50.0% (48.0–52.0%)",
        "▲ +47.0 points, better",
        "▼ -35.0 points, changed",  # refusing a harmful prompt is neither better nor worse
        "0.50 (0.45–0.55) was 0.50 (0.45–0.55) +0.00, no clear change",
        "✓ independent of the reward",
        "⚠ judged by the guard that gave the reward",
        "hybrid: 50.0% → 98.0%, half of it by step 21",  # the curve in words
        "hybrid: 50% safe and 0% refused → 98% safe and 100% refused",  # … and the plane
        "GRPOConfig.max_length 512 unknown",
        "All settings (2)",
        "hybrid : The evaluation of step 20 could not be read.",
    ],
)
def test_the_page_says(page: Page, expected: str) -> None:
    assert expected in text_of_page(page)


def test_the_page_is_in_the_order_of_the_readers_questions(page: Page) -> None:
    ids = [attributes["id"] for _, attributes in page.elements if attributes.get("id")]
    order = ["alarms", "summary", "results", "plane", "curves", "categories", "settings", "rollouts-section", "notes"]
    assert [name for name in ids if name in order] == order


def test_every_figure_has_its_place_and_is_valid_to_plotly(page: Page) -> None:
    import plotly.graph_objects as plotly

    ids = {attributes.get("id") for _, attributes in page.elements}
    assert {"plane-0", "curves-0", "others-0", "categories-0", "categories-1"} <= set(page.figures) <= ids
    for figure in page.figures.values():
        plotly.Figure(figure)  # raises for a property that it does not have


def test_nothing_comes_from_the_network(page: Page) -> None:
    addresses = [value for _, found in page.elements for name, value in found.items() if name in ("src", "href")]
    assert all((address or "").startswith("#") for address in addresses)
    policy = next(found["content"] for _, found in page.elements if found.get("http-equiv"))
    assert policy is not None
    assert policy.startswith("default-src 'none'; base-uri 'none'; form-action 'none';")
    scripts = next(part for part in policy.split(";") if "script-src" in part)
    assert len(re.findall(r"'sha256-[\w+/=]+'", scripts)) == 9
    assert "unsafe" not in scripts


def test_nothing_at_all_is_a_page_too(tmp_path: Path) -> None:
    page = written(tmp_path, [])
    assert page.figures == {}
    assert "section" not in [tag for tag, _ in page.elements]


def test_a_run_of_trl_alone_has_its_curves_and_rollouts(tmp_path: Path) -> None:
    log = [{"step": step, "reward": step / 10, "kl": 0.1 * step, "loss": 1 / step} for step in range(1, 5)]
    rows = [{"step": 1, "prompt": "Q", "completion": "A", "brevity": 0.5, "advantage": 0.1}]
    page = written(tmp_path, [Run("run", "runs/run", log=log, rollouts=rows, rollout_total=1)])
    assert list(page.figures) == ["curves-0", "curves-1", "others-0"]
    table = json.loads(page.scripts[2])
    assert [column["key"] for column in table["columns"]] == [
        "run",
        "step",
        "reward",
        "prompt",
        "completion",
        "advantage",
    ]


@pytest.mark.parametrize("text", [*ATTACKS, ATTACK])
def test_text_from_outside_cannot_become_markup(tmp_path: Path, text: str) -> None:
    def page_with(text: str) -> Page:
        runs = [hostile_run(text, text), hostile_run(text, "other")]
        path = tmp_path / "report.html"
        return Page(write_runs_page(path, runs, title=text, summary=[text], differences=[(text, [text, text])]))

    page, harmless = page_with(text), page_with("x")
    # The same elements with the same attributes, and the same code: no script, no image, no handler was added.
    shapes = [[(tag, sorted(attributes)) for tag, attributes in each.elements] for each in (page, harmless)]
    assert shapes[0] == shapes[1]
    assert page.scripts[3:] == harmless.scripts[3:]
    assert len(page.scripts) == 3 + 9
    # Plotly reads some markup in names and labels.
    traces = [trace for figure in page.figures.values() for trace in figure["data"]]
    assert not [
        trace for trace in traces if "<" in json.dumps([trace.get(key) for key in ("name", "text", "customdata")])
    ]


def test_runs_that_cannot_be_told_apart_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="runs should have different names"):
        written(tmp_path, [Run("a", "x"), Run("a", "y")])
    with pytest.raises(ValueError, match="one text per run, found 1 of 'seed'"):
        written(tmp_path, two_runs(), differences=[("seed", ["0"])])


def test_many_alarms_are_counted_and_the_first_are_listed(tmp_path: Path) -> None:
    from dataclasses import replace

    run = two_runs()[0]
    page = written(tmp_path, [replace(run, alarms=[replace(run.alarms[0], step=step) for step in range(100)])])
    assert "100 alarms" in text_of_page(page)
    assert "95 more, 35 shown" in text_of_page(page)
