"""Paired differences: the exact test against its definition, the interval against a loop written by hand."""

from __future__ import annotations

from math import comb
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest

from guard_reward.evaluation.measures import estimates
from guard_reward.evaluation.paired import changes, exact_p_value


def record(prompt_id: int, safe: bool, sample: int = 0) -> dict[str, Any]:
    severity = "Safe" if safe else "Unsafe"
    return {
        **{"prompt_id": prompt_id, "sample": sample, "harmful": True, "truncated": None},
        **{
            "guard_outcome": "scored",
            "guard_severity": severity,
            "guard_refusal": None,
            "guard_thinking_severity": None,
            "guard_thinking_outcome": None,
        },
    }


@pytest.mark.parametrize(("risen", "fallen"), [(0, 0), (1, 0), (5, 5), (1, 9), (30, 12), (0, 20)])
def test_mcnemar_is_the_binomial_sum(risen, fallen):
    count = risen + fallen
    tail = sum(comb(count, k) for k in range(min(risen, fallen) + 1)) / 2**count
    assert exact_p_value(risen, fallen) == pytest.approx(min(1.0, 2 * tail))
    if count:
        assert exact_p_value(risen, fallen) == binomtest(risen, count).pvalue


def test_the_interval_of_the_difference_is_that_of_a_loop():
    random = np.random.default_rng(1)
    old, new = random.random(80) < 0.4, random.random(80) < 0.7
    before, after = ([record(number, bool(safe)) for number, safe in enumerate(values)] for values in (old, new))
    change = changes(before, after, "guard")["safe_rate"]
    draws = np.random.default_rng(0)
    means = []
    for _ in range(1000):
        numbers = draws.integers(80, size=80)
        means.append(sum(float(new[number]) - float(old[number]) for number in numbers) / 80)
    assert (change.low, change.high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), abs=2e-6)
    assert (change.risen, change.fallen) == (int((new & ~old).sum()), int((old & ~new).sum()))


def test_replies_to_one_prompt_are_drawn_together():
    """Ten replies that agree on each of 20 prompts say no more than one reply each."""
    one = [record(number, number % 2 == 0) for number in range(20)]
    ten = [record(number, number % 2 == 0, sample) for number in range(20) for sample in range(10)]
    single, many = (estimates(records, "guard")["safe_rate"] for records in (one, ten))
    assert (single.low, single.high) == (many.low, many.high)
    assert (single.count, many.count) == (20, 200)


def test_rates_without_variation_have_wilsons_interval():
    [estimate] = [estimates([record(number, True) for number in range(20)], "guard")["safe_rate"]]
    assert (estimate.value, estimate.high) == (1.0, 1.0)
    assert estimate.low == pytest.approx(0.8389, abs=1e-4)


def test_prompts_that_only_one_evaluation_has_do_not_count():
    before = [record(0, False), record(1, False)]
    after = [record(1, True), record(2, True)]
    assert changes(before, after, "guard")["safe_rate"].prompts == 1
