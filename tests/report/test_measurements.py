"""Before and after: what is compared, and what a change is called."""

from __future__ import annotations

from dataclasses import replace

import pytest

from guard_reward.report import Measurement, Run
from guard_reward.report.cells import Estimate
from guard_reward.report.measurements import comparison, single_measurements
from guard_reward.report.plane import plane_chart
from tests.report.sample_runs import measured


def changed(metric: str, before: Estimate, after: Estimate, **p_values: float) -> tuple[str, str]:
    measurements = [
        Measurement("after", "judge", True, {metric: after}, p_values),
        Measurement("before", "judge", True, {metric: before}),
    ]
    _, (row,) = comparison([Run("run", "runs", measurements=measurements)])
    (cell,) = row.cells
    assert cell is not None
    return cell.change, cell.verdict


@pytest.mark.parametrize(
    ("metric", "before", "after", "expected"),
    [
        ("safety_rate", (0.5, 0.45, 0.55), (0.9, 0.88, 0.92), ("+40.0 points", "better")),
        ("safety_rate", (0.9, 0.88, 0.92), (0.5, 0.45, 0.55), ("-40.0 points", "worse")),
        ("refusal_rate_benign", (0.1, 0.05, 0.15), (0.3, 0.25, 0.35), ("+20.0 points", "worse")),
        ("refusal_rate_harmful", (0.1, 0.05, 0.15), (0.3, 0.25, 0.35), ("+20.0 points", "changed")),
        ("safe_rate_benign", (0.5, 0.45, 0.55), (0.9, 0.88, 0.92), ("+40.0 points", "better")),
        ("helpfulness", (0.5, 0.4, 0.6), (0.55, 0.45, 0.65), ("+0.05", "no clear change")),
        ("safety_rate", (0.5, None, None), (0.6, None, None), ("+10.0 points", "")),  # intervals are unknown
        ("safety_rate", (0.5, 0.4, 0.6), (0.5, 0.4, 0.6), ("+0.0 points", "no clear change")),
    ],
)
def test_changes(metric: str, before: tuple, after: tuple, expected: tuple[str, str]) -> None:
    assert changed(metric, Estimate(*before), Estimate(*after)) == expected


def test_the_test_on_shared_prompts_decides_where_it_is_known() -> None:
    before, after = Estimate(0.5, 0.45, 0.55), Estimate(0.55, 0.50, 0.60)
    assert changed("safety_rate", before, after)[1] == "no clear change"
    assert changed("safety_rate", before, after, safety_rate=0.001)[1] == "better"


def test_each_judge_has_its_row_and_the_first_and_last_stage_are_compared() -> None:
    stages = ["after", "step 400", "before", "step 50"]
    measurements = [measured(stage, 0.5, 0.1) for stage in stages]
    measurements.append(replace(measured("after", 0.6, 0.1), judged_by="another judge", independent=None))
    run = Run("run", "runs", measurements=measurements)
    _, rows = comparison([run])
    assert [(row.judged_by, row.independent, list(row.stages)) for row in rows] == [
        ("the judge wildguard, 500 held-out prompts", True, ["before", "after"]),
        ("another judge", None, ["after"]),
    ]
    assert [found.stage for _, found in single_measurements([run])] == ["before", "step 50", "step 400", "after"]


def test_plane() -> None:
    before, after = measured("before", 0.5, 0.4), measured("after", 0.97, 0.05)
    chart = plane_chart([Run("hybrid", "runs", measurements=[before, after])], [{}])
    assert chart is not None
    first, second = chart.figure["data"]
    assert (first["x"], first["y"], first["marker"]["symbol"]) == ([0.4], [0.5], "circle-open")
    assert (second["x"], second["y"], second["marker"]["symbol"]) == ([0.05], [0.97], "circle")
    assert first["error_y"]["array"] == [pytest.approx(0.02)]
    assert plane_chart([Run("silent", "runs")], [{}]) is None


def test_points_on_each_other_have_one_label() -> None:
    runs = [
        Run(name, name, measurements=[measured("before", 0.5, 0.4), measured("after", 0.97, at)])
        for name, at in (("a", 0.05), ("b", 0.9))
    ]
    chart = plane_chart(runs, [{}, {}])
    assert chart is not None
    assert [trace["text"] for trace in chart.figure["data"]] == [["before (both)"], ["after"], [""], ["after"]]
    assert chart.figure["data"][1]["textposition"].startswith("bottom")  # above it the label would be cut
