"""The rollouts of an alarm are found in the table, however both write them."""

from __future__ import annotations

from typing import Any

import pytest

from guard_reward.report import Alarm, Run
from guard_reward.report.causes import with_causes
from guard_reward.report.rollout_table import rollout_table
from tests.report.sample_runs import two_runs

ROW = {"step": 3, "prompt": "Question", "thinking": "hm", "completion": "Answer"}


def places(rows: list[dict[str, Any]], *alarms: Alarm) -> tuple[list[Any], list[list[int]]]:
    found, where = with_causes(Run("run", "runs", alarms=alarms), rows)
    return [row.get("alarm") for row in found], where


@pytest.mark.parametrize(
    "cause",
    [
        {"prompt": "Question", "completion": "Answer", "value": 0.9},
        {"prompt": "Question", "completion": "<think>hm</think>\n\nAnswer"},
        {
            "prompt": [{"role": "user", "content": "Question"}],
            "completion": [{"role": "assistant", "content": "Answer"}],
        },
    ],
)
def test_a_cause_is_found(cause: dict[str, Any]) -> None:
    assert places([ROW], Alarm(3, "repetition", "", [cause])) == (["repetition"], [[0]])


def test_a_cause_that_is_not_there_is_added() -> None:
    assert places([ROW], Alarm(3, "repetition", "", [{"prompt": "Other", "completion": "Answer"}])) == (
        [None, "repetition"],
        [[1]],
    )


def test_of_equal_rollouts_the_one_of_the_alarms_step_is_meant() -> None:
    rows = [{**ROW, "step": step} for step in (1, 2, 3)]
    assert places(rows, Alarm(2, "repetition", "", [ROW]))[1] == [[1]]


def test_a_rollout_can_cause_several_alarms() -> None:
    alarms = [Alarm(3, "repetition", "", [ROW]), Alarm(3, "second_guard", "", [ROW])]
    assert places([ROW], *alarms) == (["repetition, second_guard"], [[0], [0]])


def test_the_page_links_to_them() -> None:
    run = two_runs()[0]
    table = rollout_table([run])
    addresses = [f"hybrid/{row[0]}" for row in table.page["rows"]]
    assert len(addresses) == 121
    assert table.causes == {"hybrid": [[addresses[5], addresses[-1]]]}


def test_what_the_second_guard_said_stands_beside_it() -> None:
    causes = [{**ROW, "second": "Unsafe"}, {"prompt": "Other", "completion": "Answer", "second": "Controversial"}]
    rows, _ = with_causes(Run("run", "runs", alarms=[Alarm(3, "second_guard", "", causes)]), [ROW])
    assert [row["second_guard_severity"] for row in rows] == ["Unsafe", "Controversial"]
    assert all("second" not in row for row in rows)
