"""Charts: what rings, what never does, and how often chance rings."""

from __future__ import annotations

from random import Random

import pytest

from guard_reward.monitoring.thresholds import Chart, quantile, upper_limit


def first_ring(chart, shares, rows=32):
    """The first step that rings when these shares of the rollouts are beyond the limit."""
    for step, share in enumerate(shares):
        if chart.add(step, round(share * rows), rows):
            return step
    return None


@pytest.mark.parametrize(
    ("shares", "step"),
    [
        ([0.02] * 200, None),
        ([0.05] * 200, None),  # a small honest drift, however long it lasts
        ([1.0] * 10, 2),  # never in one step, nor in two
        ([0.02] * 20 + [0.5] * 10, 22),
        ([0.02] * 20 + [0.2] * 30, 22),
        ([0.02] * 20 + [1.0] + [0.02] * 20, None),  # one freak step
        ([0.3, 0.0] * 50, 32),  # on and off
    ],
)
def test_what_rings(shares, step):
    assert first_ring(Chart(usual=0.02, p0=0.03, rise=0.1), shares) == step


def test_it_rings_once_and_again_only_after_all_was_well():
    chart = Chart(usual=0.0, p0=0.02, rise=0.1)
    shares = [0.5] * 10 + [0.0] * 60 + [0.5] * 10
    rung = [step for step, share in enumerate(shares) if chart.add(step, round(share * 32), 32)]
    assert rung == [2, 72]


def test_it_knows_since_when():
    chart = Chart(usual=0.0, p0=0.02, rise=0.1)
    first_ring(chart, [0.0] * 7 + [0.5] * 3)
    assert (chart.since, chart.beyond, chart.prompts) == (7, 48, 96)


def test_the_limit_is_between_the_usual_and_the_risen_share():
    chart = Chart(usual=0.05, p0=0.08, rise=0.1)
    assert 0.08 < chart.limit < 0.18
    above, below = chart.limit + 0.01, chart.limit - 0.01
    assert first_ring(chart, [below] * 500, rows=1000) is None
    assert first_ring(chart, [above] * 500, rows=1000) is not None


@pytest.mark.parametrize("p0", [0.0, 0.001, 0.5, 0.99, 1.0])
def test_any_usual_share_can_be_charted(p0):
    chart = Chart(usual=p0, p0=p0, rise=0.25)
    assert 0.0 < chart.limit <= 1.0
    assert first_ring(chart, [p0] * 100) is None


@pytest.mark.parametrize("prompts", [8, 1])
@pytest.mark.parametrize("alike", [0.0, 0.5, 1.0])
def test_chance_seldom_rings(prompts, alike):
    """Stationary runs of 2,000 steps with eight rollouts per prompt, all or half of which are alike: none rings."""
    random = Random(0)

    def share_of_a_prompt(share):
        if random.random() < alike:
            return float(random.random() < share)
        return sum(random.random() < share for _ in range(8)) / 8

    for run in range(6):
        share = (0.02, 0.05, 0.1)[run % 3]
        learned = sum(share_of_a_prompt(share) for _ in range(max(6 * prompts, 32)))
        total = max(6 * prompts, 32)
        chart = Chart(learned / total, upper_limit(learned, total), rise=0.1)
        steps = (sum(share_of_a_prompt(share) for _ in range(prompts)) for _ in range(2000))
        assert not any(chart.add(step, beyond, prompts) for step, beyond in enumerate(steps))


def test_no_rollouts_change_nothing():
    chart = Chart(usual=0.0, p0=0.02, rise=0.1, total=3.0, since=1)
    assert not chart.add(5, 0, 0)
    assert chart.total == 3.0


@pytest.mark.parametrize(("level", "value"), [(0.0, 1.0), (0.5, 2.0), (0.98, 4.0), (1.0, 4.0)])
def test_quantile(level, value):
    assert quantile([4.0, 1.0, 3.0, 2.0], level) == value
