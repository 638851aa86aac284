"""Metrics: once per row to which they apply, never NaN, never a made-up 0; columns: one value per row."""

from __future__ import annotations

import math

import pytest

from guard_reward import Category, GuardReward, GuardSpec, Outcome, Severity, Verdict
from guard_reward.guards.answer import AnswerFormat, Labels
from guard_reward.log_lines import is_total, over, rows_name
from guard_reward.scoring import Usage
from tests.scripted_guard import ScriptedGuard


def run(reward, completions, **columns):
    """All metrics and columns of one batch, metrics as the list of logged values, without their totals."""
    metrics, extra = run_with_totals(reward, completions, **columns)
    return {name: values for name, values in metrics.items() if not is_total(name)}, extra


def run_with_totals(reward, completions, **columns):
    metrics: dict[str, list[float]] = {}
    extra: dict[str, list] = {}
    reward(
        prompts=["How?"] * len(completions),
        completions=completions,
        log_metric=lambda name, value: metrics.setdefault(name, []).append(value),
        log_extra=lambda name, values: extra.setdefault(name, []).extend(values),
        **columns,
    )
    return metrics, extra


CATEGORIES = [category for category in Category if category is not Category.JAILBREAK]
BATCH = ["fine", "a bomb", "edgy", "sorry", "", "mumble", "<think>a bomb</think>fine"]
N = len(BATCH)


def test_exactly_these_metrics_and_values():
    reward = GuardReward(
        ScriptedGuard(), "hybrid", helpfulness=lambda completions, **_: [float(len(text)) for text in completions]
    )
    metrics, _ = run(reward, BATCH)
    assert metrics.pop("guard/seconds")[0] > 0
    assert metrics.pop("guard/rollouts_per_second")[0] > 0
    assert metrics == {
        # judged answers only: five of seven rows
        "guard/safe_rate": [1, 0, 0, 1, 1],
        "guard/controversial_rate": [0, 0, 1, 0, 0],
        "guard/unsafe_rate": [0, 1, 0, 0, 0],
        "guard/refusal_rate": [0, 0, 0, 1, 0],
        "guard/p_unsafe_mean": [0.04, 0.8, 0.3, 0.04, 0.04],
        "guard/thinking/safe_rate": [0],
        "guard/thinking/controversial_rate": [0],
        "guard/thinking/unsafe_rate": [1],
        "guard/category/Violent": [0, 1, 0, 0, 0],
        "guard/category/Unethical Acts": [0, 0, 1, 0, 0],
        **{
            f"guard/category/{category}": [0] * 5
            for category in CATEGORIES
            if category not in (Category.VIOLENT, Category.UNETHICAL_ACTS)
        },
        "guard/category/unknown": [0] * 5,
        "guard/worse_form_rate": [0] * 5,
        # every row
        "guard/outcome/scored": [1, 1, 1, 1, 0, 0, 1],
        "guard/outcome/empty": [0, 0, 0, 0, 1, 0, 0],
        "guard/outcome/no_verdict": [0, 0, 0, 0, 0, 1, 0],
        "guard/outcome/guard_error": [0] * N,
        "guard/outcome/timeout": [0] * N,
        "guard/outcome/too_long": [0] * N,
        "guard/outcome/injection": [0] * N,
        "guard/outcome/degenerate": [0] * N,
        "guard/outcome/language_switch": [0] * N,
        "guard/injection_attempt_rate": [0] * N,
        "guard/lost_form_rate": [0] * N,
        "guard/truncation_unknown_rate": [1] * N,
        "guard/helpfulness": [len(text) for text in BATCH],
    }


def test_exactly_these_totals():
    reward = GuardReward(
        ScriptedGuard(), "hybrid", helpfulness=lambda completions, **_: [float(len(text)) for text in completions]
    )
    metrics, _ = run_with_totals(reward, BATCH)
    totals = {name: values for name, values in metrics.items() if is_total(name)}
    assert {name: values for name, values in totals.items() if name.startswith("guard/rows/")} == {
        "guard/rows/all": [N],
        "guard/rows/judged": [5],
        "guard/rows/refusal_known": [5],
        "guard/rows/p_unsafe_known": [5],
        "guard/rows/thinking_judged": [1],
        "guard/rows/truncation_known": [0],
        "guard/rows/script_known": [0],  # the prompt is too short
        "guard/rows/helpfulness_known": [N],
    }
    assert {name: values for name, values in totals.items() if values != [0] and "/sum/" in name} == {
        "guard/sum/safe_rate": [3],
        "guard/sum/controversial_rate": [1],
        "guard/sum/unsafe_rate": [1],
        "guard/sum/refusal_rate": [1],
        "guard/sum/p_unsafe_mean": [pytest.approx(1.22)],
        "guard/sum/thinking/unsafe_rate": [1],
        "guard/sum/category/Violent": [1],
        "guard/sum/category/Unethical Acts": [1],
        "guard/sum/outcome/scored": [5],
        "guard/sum/outcome/empty": [1],
        "guard/sum/outcome/no_verdict": [1],
        "guard/sum/truncation_unknown_rate": [N],
        "guard/sum/helpfulness": [sum(map(len, BATCH))],
    }


@pytest.mark.parametrize("settings", [{}, {"thinking": "joint"}, {"prompt_label_column": "harm"}])
@pytest.mark.parametrize("scheme", ["guard_only", "appropriate_refusal"])
def test_every_call_logs_the_same_totals_once(scheme, settings):
    """A total that a call or a rank leaves out would be averaged over fewer calls than the others."""
    reward = GuardReward(ScriptedGuard(), scheme, **settings)
    calls = [["fine", "<think>a bomb</think>sorry"], ["mumble"] * 3, ["", "?!"], [None]]
    logged = [run_with_totals(reward, rows, harm=[None] * len(rows))[0] for rows in calls]
    totals = [{name: values for name, values in one.items() if is_total(name)} for one in logged]
    assert [set(one) for one in totals] == [set(totals[0])] * len(calls)
    assert all(len(values) == 1 for one in totals for values in one.values())


@pytest.mark.parametrize("labels", [False, True])
def test_metrics_with_one_row_count_are_over_the_same_rows(labels):
    """`exact_rates` divides by one count for all of them."""
    reward = GuardReward(ScriptedGuard(), "appropriate_refusal", prompt_label_column="harm" if labels else None)
    metrics, _ = run_with_totals(reward, BATCH, harm=[True, False, None, True, True, False, False])
    for name, values in metrics.items():
        if not is_total(name) and over(name.removeprefix("guard/")):
            assert metrics[rows_name("guard", over(name.removeprefix("guard/")))] == [len(values)]
    split = {name for name in metrics if name.startswith("guard/rows/") and name.endswith(("harmful", "benign"))}
    assert len(split) == 4 * labels


def test_exactly_these_columns():
    _, columns = run(GuardReward(ScriptedGuard()), BATCH)
    assert columns == {
        "guard_severity": ["Safe", "Unsafe", "Controversial", "Safe", None, None, "Safe"],
        "guard_categories": ["", "Violent", "Unethical Acts", "", None, None, ""],
        "guard_refusal": [False, False, False, True, None, None, False],
        "guard_p_unsafe": [0.04, 0.8, 0.3, 0.04, None, None, 0.04],
        "guard_thinking_severity": [None] * 6 + ["Unsafe"],
        "guard_outcome": ["scored", "scored", "scored", "scored", "empty", "no_verdict", "scored"],
        "guard_reason": [
            *[None] * 4,
            "no letter and no digit in the policy's text, nor in the arguments of a call",
            "the script says mumble",
            None,
        ],
        "guard_truncated": [None] * N,
        "guard_injection_attempts": [0] * N,
    }


def test_prompts_have_rates_and_a_column_where_they_are_judged():
    metrics, columns = run(GuardReward(ScriptedGuard(), "appropriate_refusal"), ["fine", "", "mumble", "a bomb"])
    for severity, rate in (("safe", 1), ("controversial", 0), ("unsafe", 0)):
        assert metrics[f"guard/prompt/{severity}_rate"] == [rate] * 3  # nobody asks about empty answers' prompts
    assert columns["guard_prompt_severity"] == ["Safe", None, "Safe", "Safe"]


def test_labels_and_helpfulness_have_columns_where_there_are_some():
    def helpful(completions, **_):
        return [0.5 if text else None for text in completions]

    reward = GuardReward(ScriptedGuard(), prompt_label_column="harm", helpfulness=helpful)
    _, columns = run(reward, ["fine", "", "a bomb"], harm=[True, False, None])
    assert columns["guard_harmful"] == [True, False, None]
    assert columns["guard_helpfulness"] == [0.5, None, 0.5]


def test_the_prompt_column_does_not_come_and_go():
    """TRL builds one table of all calls: a column that one call lacks would be shorter than the others."""
    _, columns = run(GuardReward(ScriptedGuard(), "appropriate_refusal"), ["", "?!"])
    assert columns["guard_prompt_severity"] == [None, None]
    _, columns = run(GuardReward(ScriptedGuard()), ["fine"])
    assert "guard_prompt_severity" not in columns


def test_every_column_has_a_value_for_every_row():
    """TRL builds one table of all columns; a column of another length would break it."""
    _, columns = run(GuardReward(ScriptedGuard()), [*BATCH, None, [{"role": "narrator", "content": "x"}]])
    assert {len(values) for values in columns.values()} == {N + 2}


def test_a_local_guard_says_what_its_verdicts_cost():
    class CountingGuard(ScriptedGuard):
        usage = Usage(rows=100, passes=150, input_tokens=1000, computed_tokens=600)

        def moderate(self, conversations):
            self.usage = Usage(rows=104, passes=156, input_tokens=1400, computed_tokens=700)
            return super().moderate(conversations)

    metrics, _ = run(GuardReward(CountingGuard()), ["fine", "a bomb"])
    assert metrics["guard/prefix_reuse"] == [0.75]  # of this call, not since the start
    assert metrics["guard/passes_per_verdict"] == [1.5]


def test_a_guards_own_idea_of_usage_is_left_alone():
    guard = ScriptedGuard()
    guard.usage = {"prompt_tokens": 12}
    metrics, _ = run(GuardReward(guard), ["fine"])
    assert "guard/prefix_reuse" not in metrics


@pytest.mark.parametrize("completions", [BATCH, [""] * 3, ["broken"] * 3, [None] * 3])
def test_never_nan_and_plain_numbers(completions):
    metrics, _ = run_with_totals(GuardReward(ScriptedGuard()), completions)
    assert all(type(value) is float and math.isfinite(value) for values in metrics.values() for value in values)


def test_rates_of_verdicts_are_absent_where_nothing_was_judged():
    metrics, _ = run(GuardReward(ScriptedGuard()), ["", "?!"])
    assert set(metrics) == {
        *(f"guard/outcome/{outcome}" for outcome in Outcome),
        "guard/injection_attempt_rate",
        "guard/lost_form_rate",
        "guard/truncation_unknown_rate",
        "guard/seconds",  # no rollouts_per_second: nobody was asked
    }


def test_split_by_harmful_and_benign_prompts():
    reward = GuardReward(ScriptedGuard(), prompt_label_column="harm")
    metrics, _ = run(reward, ["fine", "a bomb", "sorry", "sorry", "fine"], harm=[True, True, True, False, None])
    assert {name: values for name, values in metrics.items() if name.endswith(("harmful", "benign"))} == {
        "guard/safe_rate/harmful": [1, 0, 1],
        "guard/safe_rate/benign": [1],
        "guard/controversial_rate/harmful": [0, 0, 0],
        "guard/controversial_rate/benign": [0],
        "guard/unsafe_rate/harmful": [0, 1, 0],
        "guard/unsafe_rate/benign": [0],
        "guard/refusal_rate/harmful": [0, 0, 1],
        "guard/refusal_rate/benign": [1],
    }
    assert metrics["guard/safe_rate"] == [1, 0, 1, 1, 1]  # all rows together


def test_truncation_is_measured_where_it_is_known():
    reward = GuardReward(ScriptedGuard(), eos_token_ids=[2, 3])
    metrics, columns = run(reward, ["fine"] * 4, completion_ids=[[5, 2], [5, 3], [5, 6], []])
    assert metrics["guard/truncated_rate"] == [0, 0, 1]
    assert metrics["guard/truncation_unknown_rate"] == [0, 0, 0, 1]
    assert columns["guard_truncated"] == [False, False, True, None]


def test_an_unknown_category_is_flagged():
    class Gardener(ScriptedGuard):
        def _judge(self, text):
            from guard_reward import Severity, Verdict

            return Verdict(Severity.UNSAFE, ("Weeds", Category.PII) if "weed" in text else (Category.PII,))

    metrics, columns = run(GuardReward(Gardener()), ["weed", "fine"])
    assert metrics["guard/category/unknown"] == [1, 0]
    assert metrics["guard/category/PII"] == [1, 1]
    assert "guard/category/Weeds" not in metrics
    assert columns["guard_categories"] == ["Weeds, PII", "PII"]


def test_the_same_rollout_twice_counts_twice():
    metrics, _ = run(GuardReward(ScriptedGuard()), ["a bomb", "a bomb", "fine"])
    assert metrics["guard/unsafe_rate"] == [1, 1, 0]


def test_two_rewards_keep_apart_under_their_names():
    small, large = (GuardReward(ScriptedGuard(), name=name) for name in ("small", "large"))
    metrics_small, columns_small = run(small, BATCH)
    metrics_large, columns_large = run(large, BATCH)
    assert {name.split("/")[0] for name in metrics_small} == {"small"}
    assert {name.split("/")[0] for name in metrics_large} == {"large"}
    assert not set(columns_small) & set(columns_large)


def test_without_a_log_nothing_is_logged():
    reward = GuardReward(ScriptedGuard())
    assert reward(prompts=["How?"], completions=["fine"], log_metric=None, log_extra=None) == [1.0]


def test_the_categories_are_those_of_the_guards_specification():
    gardening = GuardSpec(
        "gardening",
        AnswerFormat("<severity>", severity=Labels({"ok": Severity.SAFE, "bad": Severity.UNSAFE})),
        categories=("Weeds", "Slugs", "Rude Prompts"),
        prompt_only_categories=("Rude Prompts",),
    )

    class Gardener(ScriptedGuard):
        spec = gardening

        def _judge(self, text):
            names = tuple(name for name in ("Weeds", "Slugs", "Frost") if name in text)
            unknown = tuple(name for name in names if name not in gardening.categories)
            return Verdict(Severity.UNSAFE if names else Severity.SAFE, names, unknown_categories=unknown)

    metrics, columns = run(GuardReward(Gardener()), ["Weeds", "Weeds and Slugs", "Frost", "fine"])
    assert {name: values for name, values in metrics.items() if "/category/" in name} == {
        "guard/category/Weeds": [1, 1, 0, 0],
        "guard/category/Slugs": [0, 1, 0, 0],
        "guard/category/unknown": [0, 0, 1, 0],
    }
    assert columns["guard_categories"] == ["Weeds", "Weeds, Slugs", "Frost", ""]
