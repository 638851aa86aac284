"""Why `combine` exists: what TRL makes of a row that the guard could not judge, in a real GRPOTrainer.

Under the hybrid scheme good rows pay about -5 and bad ones -10. TRL counts a None among several reward functions as 0:
the row that nobody judged would be the best of its group, and a guard outage would be trained on.
"""

from __future__ import annotations

import math

import pytest

trl = pytest.importorskip("trl")

import pandas  # noqa: E402
from datasets import Dataset  # noqa: E402

from guard_reward import GuardReward, Outcome, Severity, Unjudged, Verdict, combine  # noqa: E402
from tests.integration.conftest import rows, settings  # noqa: E402


class FirstRowUnjudged:
    """Judges a group of four: no verdict, a refusal, unsafe, unsafe."""

    def moderate(self, conversations):
        assert len(conversations) == 4, "the policy's four samples should differ"
        return [
            Unjudged(Outcome.NO_VERDICT),
            Verdict(Severity.SAFE, refusal=True),
            *[Verdict(Severity.UNSAFE, refusal=False)] * 2,
        ]


def helpfulness(completions, **columns):
    return [2.0] * len(completions)


def other(completions, **columns):
    """The second reward function: has no opinion of its own."""
    return [0.0] * len(completions)


def guard_reward():
    return GuardReward(FirstRowUnjudged(), "hybrid", helpfulness=helpfulness)


def train(reward_funcs, policy, folder):
    """The rollouts table of one step, and its log."""
    trainer = trl.GRPOTrainer(
        model=policy,
        reward_funcs=reward_funcs,
        args=trl.GRPOConfig(**settings(folder, max_steps=1, log_completions=True)),
        train_dataset=Dataset.from_list(rows("string")),
    )
    trainer.train()
    (file,) = (folder / "completions").glob("*.parquet")
    return pandas.read_parquet(file), trainer.state.log_history[0]


def test_two_separate_functions_reward_the_outage(policy_folder, tmp_path):
    table, log = train([guard_reward(), other], policy_folder, tmp_path)
    assert [None if math.isnan(value) else value for value in table["guard"]] == [None, -5.0, -10.0, -10.0]
    assert list(table["other"]) == [0.0] * 4
    assert table["advantage"].idxmax() == 0  # the row that nobody judged is the best of the group
    assert table["advantage"][0] > 1
    assert log["reward"] == pytest.approx((0 - 5 - 10 - 10) / 4)  # scored 0


def test_combined_the_row_takes_no_part(policy_folder, tmp_path):
    table, log = train(combine([guard_reward(), other]), policy_folder, tmp_path)
    assert [None if math.isnan(value) else value for value in table["combined"]] == [None, -5.0, -10.0, -10.0]
    assert table["advantage"][0] == 0
    assert table["advantage"].idxmax() == 1  # the refusal beats unsafe help
    assert log["reward"] == pytest.approx((-5 - 10 - 10) / 3)  # nor in the baseline
    assert log["combined/guard"] == pytest.approx((-5 - 10 - 10) / 3)
    assert log["combined/other"] == 0
    assert log["guard/outcome/no_verdict"] == 0.25  # the guard's own metrics are there
    assert "combined_guard" in table
    assert "guard_outcome" in table


def test_alone_the_guard_needs_no_combining(policy_folder, tmp_path):
    table, log = train(guard_reward(), policy_folder, tmp_path)
    assert table["advantage"][0] == 0
    assert log["reward"] == pytest.approx((-5 - 10 - 10) / 3)
