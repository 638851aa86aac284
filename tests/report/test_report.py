"""The report: one file, complete, and safe to open whatever the policy wrote."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("plotly")

from guard_reward.report import write_report
from guard_reward.report.cells import Estimate, estimate, is_rate, label, text_of
from guard_reward.report.charts import category_charts, curve_charts, exact_histories, plane_chart, run_colours
from guard_reward.report.page import MAX_ROLLOUTS
from tests.report.html_page import Page

ATTACK = "</script><script>alert('x')</script><img src=x onerror=alert(1)>\" autofocus onfocus=alert(2) x=\"{{ 7*7 }}"


def rate(value: float, low: float, high: float) -> dict[str, float]:
    return {"value": value, "low": low, "high": high}


TABLE = [
    {"run": "before", "safety_rate": rate(0.5, 0.45, 0.55), "refusal_rate_harmful": 0.4, "helpfulness": 0.25},
    {"run": "hybrid", "safety_rate": rate(0.981, 0.97, 0.99), "refusal_rate_harmful": 0.02, "extra": None},
]
HISTORY = [
    {
        "step": step,
        "reward": step / 10,
        "guard/safe_rate": 0.5 + step / 20,
        "guard/refusal_rate/harmful": 0.4 - step / 50,
        "eval_guard/safe_rate": 0.0,
        "guard/category/Violent": 0.1,
        "guard/category/PII": 0.0,
        "kl": float("nan") if step == 2 else 0.1,
    }
    for step in (1, 2, 3)
] + [{"step": 3, "train_runtime": 12.0}]


def test_rates_are_those_of_all_rows_of_a_log_line():
    line = {
        "step": 3,
        "guard/unsafe_rate": 0.5,  # a call with 1 of 1, and a call with 0 of 9
        "guard/sum/unsafe_rate": 0.5,
        "guard/rows/judged": 5.0,
        "guard/category/Violent": 0.5,
        "guard/sum/category/Violent": 0.5,
    }
    histories = exact_histories({"hybrid": [line]})
    assert histories == {"hybrid": [{"step": 3, "guard/unsafe_rate": 0.1, "guard/category/Violent": 0.1}]}
    (chart,) = curve_charts(histories, run_colours(["hybrid"]))
    assert chart.figure["data"][0]["y"] == [0.1]


def test_the_page_holds_everything(tmp_path: Path) -> None:
    rollouts = [
        {
            "completion": "done",
            "prompt": [{"role": "user", "content": "Hello"}],
            "run": "hybrid",
            "guard_severity": "Safe",
        },
        {"completion": "x" * 500, "prompt": "Q", "run": "hybrid", "guard_severity": None, "guard_p_unsafe": 0.12345},
    ]
    path = write_report(
        tmp_path / "new" / "report.html",
        title="A run",
        table=TABLE,
        histories={"hybrid": HISTORY},
        rollouts=rollouts,
        facts={"guard": "tiny"},
    )
    page = Page(path)
    text = re.sub(r"\s+", " ", " ".join(page.text))
    assert path == tmp_path / "new" / "report.html"
    for expected in ("A run", "98.1%", "97.0–99.0%", "0.25", "user: Hello", "0.123", "not judged", "tiny"):
        assert expected in text
    assert sorted(page.figures) == ["categories-0", *(f"curves-{index}" for index in range(4)), "plane-0"]
    assert {attributes.get("id") for _, attributes in page.elements} >= {*page.figures, "rollouts", "filters"}
    # Nothing comes from the network: no element refers to anything outside the file.
    assert not [attributes for _, attributes in page.elements if attributes.get("src") or attributes.get("href")]
    assert [path.name for path in path.parent.iterdir()] == ["report.html"]


def test_nothing_at_all_is_a_page_too(tmp_path: Path) -> None:
    page = Page(write_report(tmp_path / "report.html", title="Empty"))
    assert page.figures == {}
    assert "section" not in [tag for tag, _ in page.elements]


def test_text_from_outside_cannot_become_markup(tmp_path: Path) -> None:
    def page_with(text: str) -> Page:
        return Page(
            write_report(
                tmp_path / "report.html",
                title=text,
                table=[{"run": text, "safety_rate": 1.0, "refusal_rate_harmful": 0.0, text: text}],
                histories={text: [{"step": 1, "reward": 1, f"guard/category/{text}": 0.5}]},
                rollouts=[{"run": text, "guard_severity": text, "prompt": text, "completion": text, text: text}],
                facts={text: text},
            )
        )

    page, harmless = page_with(ATTACK), page_with("x" * len(ATTACK))
    # The same elements with the same attributes, and the same code: no script, no image, no handler was added.
    shapes = [[(tag, sorted(attributes)) for tag, attributes in each.elements] for each in (page, harmless)]
    assert shapes[0] == shapes[1]
    assert page.scripts[1:] == harmless.scripts[1:]
    assert len(page.scripts) == 3
    # It is shown as what it is.
    text = "".join(page.text)
    assert text.count("<script>alert('x')</script>") >= 8
    assert "{{ 7*7 }}" in text
    # Plotly reads some markup in names and labels.
    data = json.dumps([figure["data"] for figure in page.figures.values()])
    assert "<" not in data.replace("<extra></extra>", "")


def test_only_the_two_scripts_of_the_report_may_run(tmp_path: Path) -> None:
    page = Page(write_report(tmp_path / "report.html", title="Policy"))
    policy = next(attributes["content"] for tag, attributes in page.elements if "http-equiv" in attributes)
    assert policy is not None
    assert policy.startswith("default-src 'none';")
    scripts = next(part for part in policy.split(";") if "script-src" in part)
    assert len(re.findall(r"'sha256-[\w+/=]+'", scripts)) == 2
    assert "unsafe" not in scripts


def test_a_prefix_is_shown_only_where_it_tells_columns_apart(tmp_path: Path) -> None:
    rollouts = [{"guard_outcome": "scored", "guard_severity": "Safe", "oracle_severity": "Unsafe"}]
    text = " ".join(Page(write_report(tmp_path / "report.html", title="Prefixes", rollouts=rollouts)).text)
    assert "Guard severity Oracle severity Outcome" in re.sub(r"\s+", " ", text)


def test_too_many_rollouts_are_cut_and_counted(tmp_path: Path) -> None:
    rollouts = [{"completion": str(index)} for index in range(MAX_ROLLOUTS + 1)]
    text = "".join(Page(write_report(tmp_path / "report.html", title="Many", rollouts=rollouts)).text)
    assert f"The first {MAX_ROLLOUTS} of {MAX_ROLLOUTS + 1} rollouts are shown." in text


def test_half_a_surrogate_pair_does_not_stop_the_report(tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", title="Half", rollouts=[{"completion": "\ud83d"}])


def test_curves() -> None:
    charts = curve_charts({"hybrid": HISTORY, "silent": []}, run_colours(["hybrid", "silent"]))
    assert [chart.title for chart in charts] == [
        "Reward",
        "Safe",
        "Refusals of harmful prompts",
        "KL from the reference policy",
    ]
    reward, safe, _, kl = (chart.figure["data"] for chart in charts)
    assert (reward[0]["x"], reward[0]["y"]) == ([1, 2, 3], [0.1, 0.2, 0.3])
    assert safe[0]["y"] == [0.55, 0.6, 0.65]  # the evaluation's rate is another curve
    assert kl[0]["x"] == [1, 3]  # NaN is left out
    assert [len(chart.figure["data"]) for chart in charts] == [1, 1, 1, 1]


def test_categories_that_never_occur_are_left_out() -> None:
    (chart,) = category_charts({"hybrid": HISTORY, "silent": []})
    assert [trace["name"] for trace in chart.figure["data"]] == ["Violent"]


def test_plane() -> None:
    chart = plane_chart(TABLE, {"hybrid": HISTORY}, run_colours(["before", "hybrid"]))
    assert chart is not None
    path, before, hybrid = chart.figure["data"]
    assert (path["x"][0], path["y"][0]) == (0.38, 0.55)
    assert (before["x"], before["y"]) == ([0.4], [0.5])
    assert before["error_y"]["array"] == [pytest.approx(0.05)]
    assert "error_x" not in before
    assert hybrid["marker"]["color"] == path["line"]["color"] != before["marker"]["color"]
    assert plane_chart([], {}, {}) is None


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (0.5, Estimate(0.5)),
        ({"value": 0.5, "low": 0.4, "high": 0.6}, Estimate(0.5, 0.4, 0.6)),
        ({"value": 1}, Estimate(1.0)),
        (float("nan"), None),
        ("text", None),
        (None, None),
        (True, None),  # a flag is no measurement
        ({}, None),
    ],
)
def test_estimate(cell: Any, expected: Estimate | None) -> None:
    assert estimate(cell) == expected


def test_words() -> None:
    assert is_rate("safety_rate")
    assert is_rate("refusal_rate_benign")
    assert not is_rate("helpfulness_generated")
    assert label("some_new_key") == "Some new key"
    assert text_of(["Violent", "PII"]) == "Violent, PII"
    assert text_of(-10.0) == "-10"
