"""The rollouts table: common columns, the worst kept, alarms' rollouts found."""

from __future__ import annotations

import itertools

import pytest

from guard_reward.report import Run
from guard_reward.report import rollout_table as module
from guard_reward.report.rollout_table import rollout_id, rollout_table
from tests.report.sample_runs import rollouts


def cells(run: Run, key: str) -> list:
    page = rollout_table([run]).page
    position = [column["key"] for column in page["columns"]].index(key) + 1
    return [row[position] for row in page["rows"]]


def test_the_rewards_columns_have_common_names() -> None:
    page = rollout_table([Run("run", "runs", rollouts=rollouts(4))]).page
    assert [column["key"] for column in page["columns"]] == [
        *("run", "step", "severity", "categories", "refusal", "outcome", "reward", "p_unsafe"),
        *("prompt", "thinking", "completion", "advantage"),
    ]
    assert [column["heading"] for column in page["columns"] if column["numeric"]] == [
        "Step",
        "Reward",
        "P(unsafe)",
        "Advantage",
    ]


def test_headings_name_the_judge_where_two_have_judged() -> None:
    rows = [{"guard_outcome": "scored", "guard_severity": "Safe", "oracle_severity": "Unsafe"}]
    columns = rollout_table([Run("run", "runs", rollouts=rows)]).page["columns"]
    assert [column["heading"] for column in columns] == ["Run", "Guard severity", "Oracle severity", "Outcome"]


def test_values() -> None:
    rows = [
        {"a": float("nan"), "b": True, "c": 2.0, "d": 0.123456789, "e": "\u202ex", "f": ["Violent", "PII"], "g": ""}
    ]
    page = rollout_table([Run("run", "runs", rollouts=rows)]).page
    assert page["rows"][0][2:] == [None, "yes", 2, 0.12346, "⟨U+202E⟩x", "Violent, PII", None]


def test_too_many_rows_are_the_worst_and_an_even_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ROLLOUTS", 100)
    rows = [{"step": number, "guard_severity": "Safe", "completion": str(number)} for number in range(1000)]
    rows[777]["guard_severity"] = "Unsafe"
    run = Run("run", "runs", rollouts=rows, rollout_total=50_000)
    steps = cells(run, "step")
    assert len(steps) == 100
    assert 777 in steps
    assert steps == sorted(steps)
    assert max(after - before for before, after in itertools.pairwise(steps)) < 25
    page = rollout_table([run]).page
    assert (page["is_cut"], page["total"]) == (True, 50_000)


def test_huge_texts_are_cut_and_it_says_so() -> None:
    run = Run("run", "runs", rollouts=[{"completion": "x" * 1_000_000}, {"completion": "short"}])
    text, _ = cells(run, "completion")
    assert len(text) < 21_000
    assert text.endswith("… 980,000 more characters")
    assert rollout_table([run]).page["longest"] == 20_000


def test_an_id_stays_the_same_when_rows_are_added() -> None:
    rows = rollouts(3)
    first = [row[0] for row in rollout_table([Run("run", "runs", rollouts=rows)]).page["rows"]]
    later = [row[0] for row in rollout_table([Run("run", "runs", rollouts=rollouts(9)[6:] + rows)]).page["rows"]]
    assert later[3:] == first
    assert rollout_id({"id": "12-3"}) == "12-3"


def test_equal_rollouts_have_different_ids() -> None:
    page = rollout_table([Run("run", "runs", rollouts=[{"prompt": "same"}] * 2)]).page
    (first, *_), (second, *_) = page["rows"]
    assert second == f"{first}-2"


def test_empty_columns_and_the_run_of_a_single_run_are_in_a_rollouts_details_only() -> None:
    rows = [{"step": 1, "guard_severity": "Safe", "guard_categories": "", "guard_thinking_severity": "Safe"}]
    columns = rollout_table([Run("run", "runs", rollouts=rows)]).page["columns"]
    assert [column["key"] for column in columns if column["shown"]] == ["step", "severity"]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"guard": 1.0, "guard_outcome": "scored", "guard_harmful": True}, ["harmful"]),
        ({"guard": 1.0, "guard_outcome": "scored", "guard_harmful": "no"}, ["benign"]),
        ({"severity": "Safe", "harmful": False}, ["benign"]),
    ],
)
def test_the_prompts_label_is_in_words(row: dict, expected: list[str]) -> None:
    assert cells(Run("run", "runs", rollouts=[row]), "prompt_label") == expected


def test_what_only_ends_like_a_label_is_none() -> None:
    page = rollout_table([Run("run", "runs", rollouts=[{"guard_outcome": "scored", "helpfulness_harmful": 0.4}])]).page
    assert "prompt_label" not in [column["key"] for column in page["columns"]]
