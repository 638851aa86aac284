"""Log lines as curves, and curves as figures."""

from __future__ import annotations

import pytest

from guard_reward.report.charts import category_charts, curve_charts, other_charts, share_steps
from guard_reward.report.curves import Curve, find, read_curves, reduced

LOG = [
    {
        "step": step,
        "reward": step / 10,
        "guard/safe_rate": 0.5 + step / 20,
        "guard/thinking/safe_rate": 0.1,
        "guard/refusal_rate/harmful": 0.4 - step / 50,
        "guard/category/Violent": 0.1,
        "guard/category/PII": 0.0,
        "guard/sum/safe_rate": 3.0,
        "kl": float("nan") if step == 2 else 0.1,
    }
    for step in (1, 2, 3)
] + [{"step": 3, "eval_guard/safe_rate": 0.9, "eval_judge/safe_rate": 0.7}]


def test_curves_of_a_log() -> None:
    curves = read_curves(LOG)
    assert (curves["reward"].steps, curves["reward"].values) == ([1, 2, 3], [0.1, 0.2, 0.3])
    assert curves["kl"].steps == [1, 3]  # NaN is left out
    assert "step" not in curves
    assert "guard/sum/safe_rate" not in curves  # a total, no rate


def test_a_resumed_run_repeats_steps_and_the_later_line_counts() -> None:
    log = [{"step": step, "reward": value} for step, value in [(1, 0.1), (2, 0.2), (3, 0.3), (2, 0.5), (3, 0.6)]]
    assert read_curves(log)["reward"] == Curve([1, 2, 3], [0.1, 0.5, 0.6])


@pytest.mark.parametrize(
    ("metric", "where", "expected"),
    [
        ("reward", {}, "reward"),
        ("safe_rate", {}, "guard/safe_rate"),  # not that of the thinking
        ("safe_rate", {"evaluation": True}, "eval_guard/safe_rate"),
        ("safe_rate", {"judge": True}, "eval_judge/safe_rate"),
        ("helpfulness", {}, None),
    ],
)
def test_find(metric: str, where: dict[str, bool], expected: str | None) -> None:
    assert find(read_curves(LOG), metric, **where) == expected


def test_a_long_curve_keeps_its_spikes() -> None:
    values = [0.0] * 10_000
    values[1234] = 9.0
    short = reduced(Curve(list(range(10_000)), values), 1000)
    assert len(short.steps) == len(short.values) == len(short.low) == 1000
    assert max(short.high) == 9.0
    assert max(short.values) == pytest.approx(0.9)
    assert short.steps == sorted(set(short.steps))
    assert reduced(short, 1000) is short


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0] * 10 + [1.0] * 10, 10),
        ([1.0] * 10 + [0.0] * 10, 10),
        ([0.5] * 20, None),
        ([0.5, 0.52] * 10, None),  # noise
        ([0.0, 1.0], None),  # too few
    ],
)
def test_halfway(values: list[float], expected: float | None) -> None:
    assert Curve(list(range(len(values))), values).halfway(0.05) == expected


def test_charts_have_a_line_per_run_and_points_for_evaluations() -> None:
    charts = curve_charts(["hybrid", "silent"], [read_curves(LOG), {}])
    titles = ["Reward", "Safe, all prompts", "Refusals of harmful prompts", "KL from the reference policy"]
    assert [chart.title for chart in charts] == titles
    line, evaluation, judge = charts[1].figure["data"]
    assert line["y"] == [0.55, 0.6, 0.65]
    assert (evaluation["marker"]["symbol"], evaluation["y"]) == ("circle-open", [0.9])
    assert (judge["marker"]["symbol"], judge["y"]) == ("circle", [0.7])
    assert [chart.runs for chart in charts] == [[0]] * 4


def test_runs_differ_in_dash_and_marker_and_not_in_colour_alone() -> None:
    (chart,) = curve_charts(["a", "b"], [{"reward": Curve([1], [1.0])}, {"reward": Curve([1], [1.0])}])
    first, second = chart.figure["data"]
    assert first["line"]["dash"] != second["line"]["dash"]
    assert first["marker"]["symbol"] != second["marker"]["symbol"]


def test_a_metric_that_nobody_knows_is_shown_under_its_name() -> None:
    curves = read_curves([{"step": step, "my_<b>metric": step, "constant": 1} for step in range(3)])
    (chart,) = other_charts(["run"], [curves])
    assert chart.title == "my_<b>metric"  # the page escapes it


def test_categories_that_never_occur_are_left_out() -> None:
    (chart,) = category_charts(["hybrid", "silent"], [read_curves(LOG), {}])
    assert [trace["name"] for trace in chart.figure["data"]] == ["Violent"]


def test_rare_categories_are_one_area() -> None:
    curves = {f"guard/category/C{number}": Curve([1, 2], [0.1 + number, 0.1]) for number in range(12)}
    (chart,) = category_charts(["run"], [curves])
    names = [trace["name"] for trace in chart.figure["data"]]
    assert names == ["C11", "C10", "C9", "C8", "C7", "C6", "C5", "C4", "4 others"]
    assert chart.figure["data"][-1]["y"] == [pytest.approx(0.4 + 0 + 1 + 2 + 3), pytest.approx(0.4)]


def test_words_have_one_precision_and_charts_one_axis() -> None:
    curves = [{"reward": Curve([1, 2, 3, 4], [0.906, 0.906, 1.0, 1.0])}, {"kl": Curve([5, 81], [1.0, 2.0])}]
    charts = curve_charts(["a", "b"], curves)
    assert list(charts[0].texts) == ["a: 0.91 → 1.00"]
    share_steps(charts, curves)
    assert [chart.figure["layout"]["xaxis"]["range"] for chart in charts] == [[-1, 83]] * 2
