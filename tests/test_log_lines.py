"""Log lines: sums and row counts give the rates of all rows, however TRL averages them over ranks and calls."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guard_reward import GuardReward, exact_rates
from guard_reward.log_lines import is_total, over, rows_name, sum_name
from tests.scripted_guard import ScriptedGuard


@pytest.mark.parametrize(
    ("metric", "rows"),
    [
        ("outcome/empty", "all"),
        ("injection_attempt_rate", "all"),
        ("lost_form_rate", "all"),
        ("worse_form_rate", "judged"),
        ("language_switch_rate", "script_known"),
        ("raw_helpfulness", "helpfulness_known"),
        ("truncated_rate", "truncation_known"),
        ("safe_rate", "judged"),
        ("unsafe_rate/harmful", "judged/harmful"),
        ("refusal_rate/benign", "refusal_known/benign"),
        ("category/Violent", "judged"),
        ("category/harmful", "judged"),  # a category of that name is not a split
        ("thinking/safe_rate", "thinking_judged"),
        ("prompt/unsafe_rate", "prompt_judged"),
        ("policy/refuse", "policy_known"),
        ("policy/by_default", "policy_known"),
        ("compliance/refuse", "asked_for/refuse"),
        ("compliance", None),
        ("seconds", None),
        ("lagrange_multiplier", None),
    ],
)
def test_which_rows_a_metric_is_over(metric, rows):
    assert over(metric) == rows


@pytest.mark.parametrize(
    ("line", "rates"),
    [
        ({}, {}),
        ({"guard/sum/safe_rate": 2.0, "guard/rows/judged": 8.0}, {"guard/safe_rate": 0.25}),
        ({"eval_guard/sum/safe_rate": 2.0, "eval_guard/rows/judged": 8.0}, {"eval_guard/safe_rate": 0.25}),
        ({"a/b/sum/safe_rate": 2.0, "a/b/rows/judged": 8.0}, {"a/b/safe_rate": 0.25}),  # the reward is called a/b
        ({"total/sum/brevity": -3.0, "total/rows/brevity": 6.0}, {"total/brevity": -0.5}),  # of combine
        ({"guard/sum/safe_rate": 0.0, "guard/rows/judged": 0.0}, {}),  # no row
        ({"guard/sum/safe_rate": None, "guard/rows/judged": None}, {}),  # TRL had no number
        ({"guard/sum/safe_rate": 2.0}, {}),
        ({"large/sum/safe_rate": 2.0, "small/rows/judged": 8.0}, {}),  # of another reward
        ({"rewards/sum/mean": 2.0, "loss": 1.0}, {}),  # a reward function called sum
    ],
)
def test_rates_of_a_log_line(line, rates):
    assert exact_rates(line) == rates


def as_trl_logs(calls: list[list[list[tuple[str, float]]]]) -> dict[str, float]:
    """A log line: values pooled over the ranks of each call, then the mean of the calls that have the metric."""
    by_name = defaultdict(list)
    for ranks in calls:
        for name in {name for rank in ranks for name, _ in rank}:
            values = [value for rank in ranks for logged, value in rank if logged == name]
            by_name[name].append(sum(values) / len(values))
    return {name: sum(values) / len(values) for name, values in by_name.items()}


ROW = st.tuples(
    st.sampled_from(["fine", "a bomb", "edgy", "sorry", "sorry bomb", "", "mumble", "broken", "<think>bomb</think>x"]),
    st.sampled_from([True, False, None]),
)


ROWS = st.lists(ROW, max_size=4)


def calls_of(ranks: int) -> st.SearchStrategy:
    return st.lists(st.lists(ROWS, min_size=ranks, max_size=ranks), min_size=1, max_size=4)


@settings(deadline=None)  # the first call reads word lists and compiles patterns
@given(st.integers(1, 3).flatmap(calls_of))
def test_rates_are_those_of_all_rows_of_all_calls_and_ranks(calls):
    reward = GuardReward(ScriptedGuard(), prompt_label_column="harm", breaker=None)

    def judge(rows):
        logged: list[tuple[str, float]] = []
        texts = [text for text, _ in rows]
        labels = [label for _, label in rows]
        reward(["How?"] * len(rows), texts, log_metric=lambda *entry: logged.append(entry), harm=labels)
        return logged

    logged = [[judge(rows) for rows in ranks] for ranks in calls]
    values = defaultdict(list)
    for name, value in (entry for ranks in logged for rank in ranks for entry in rank):
        if not is_total(name) and over(name.removeprefix("guard/")):
            values[name].append(value)
    truth = {name: sum(found) / len(found) for name, found in values.items()}
    assert exact_rates(as_trl_logs(logged)) == pytest.approx(truth, abs=1e-12)


def test_names():
    assert sum_name("guard", "safe_rate") == "guard/sum/safe_rate"
    assert rows_name("guard", "judged") == "guard/rows/judged"
