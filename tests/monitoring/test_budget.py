"""The monitor's time stays under its share, whatever a row costs."""

from __future__ import annotations

import pytest

from guard_reward.monitoring.budget import Budget


def shares(step_seconds, row_seconds, steps=200, most=32, max_share=0.05):
    """The share of all time that was spent, and how many rows were looked at."""
    now, spent, rows = 0.0, 0.0, 0
    budget = Budget(max_share, clock=lambda: now)
    for step in range(steps):
        now += step_seconds(step)
        budget.earn()
        count = budget.affordable("guard", most)
        seconds = count * row_seconds(step)
        budget.spend("guard", seconds, count)
        now, spent, rows = now + seconds, spent + seconds, rows + count
    return spent / now, rows


@pytest.mark.parametrize(
    ("step_seconds", "row_seconds", "rows"),
    [
        (lambda step: 10.0, lambda step: 0.001, 32 * 199 + 4),  # cheap: as many as asked for
        (lambda step: 1.0, lambda step: 0.01, 950),  # five a step
        (lambda step: 1.0, lambda step: 0.4, 20),  # one in eight steps
        (lambda step: 600.0 if step == 100 else 1.0, lambda step: 0.01, 900),  # an evaluation in between
        (lambda step: 1.0, lambda step: 0.001 if step < 100 else 0.1, 3000),  # a server that becomes slow
    ],
)
def test_it_stays_under_its_share_and_uses_it(step_seconds, row_seconds, rows):
    share, looked_at = shares(step_seconds, row_seconds)
    assert share <= 0.055
    assert looked_at >= rows


def test_a_row_that_costs_more_than_all_is_paid_once_and_never_again():
    share, looked_at = shares(lambda step: 1.0, lambda step: 100.0)
    assert looked_at == 4  # nothing was known of it
    assert share > 0.05  # and the share says so


def test_a_second_guard_leaves_time_for_the_texts():
    """It could use up all there is, and only answers that the first guard calls safe would be looked at."""
    now = 0.0
    budget = Budget(0.05, clock=lambda: now)
    budget.spend("text", 0.02, 20)
    budget.spend("guard", 0.04, 4)
    now += 2.0
    budget.earn()  # 0.04 s
    assert budget.affordable("text", 20) == 20
    assert budget.affordable("guard", 32, beside=20) == 2


def test_a_second_call_in_a_step_does_not_silence_an_expensive_guard():
    now, rows = 0.0, 0
    budget = Budget(0.05, clock=lambda: now)
    for _ in range(200):
        for gap in (10.0, 0.01):
            now += gap
            budget.earn()
        count = budget.affordable("guard", 32)
        budget.spend("guard", 0.6 * count, count)
        now, rows = now + 0.6 * count, rows + count
    assert 150 < rows < 200  # 0.5 s a step, 0.6 s a row
