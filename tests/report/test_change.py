"""Whether a change is more than chance."""

from __future__ import annotations

import numpy as np
import pytest

from guard_reward.report.cells import Estimate
from guard_reward.report.change import clearly_differ
from guard_reward.report.clusters import rate_over_lines


@pytest.mark.parametrize(
    ("old", "new", "p_value", "expected"),
    [
        ((0.5, 0.4, 0.6), (0.7, 0.65, 0.75), None, True),  # apart
        ((0.5, 0.4, 0.6), (0.66, 0.56, 0.76), None, True),  # overlap; difference 0.16, half its interval 0.14
        ((0.66, 0.56, 0.76), (0.5, 0.4, 0.6), None, True),  # downwards
        ((0.5, 0.4, 0.6), (0.63, 0.53, 0.73), None, False),  # difference 0.13
        ((0.84, 0.67, 0.93), (1.0, 0.90, 1.0), None, True),  # the sides that face each other count
        ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), None, False),
        ((0.5, 0.4, 0.6), (0.9, 0.8, 1.0), 0.2, False),  # the test on shared prompts decides
        ((0.5, 0.4, 0.6), (0.52, 0.4, 0.6), 0.01, True),
        ((0.5, None, None), (0.9, 0.8, 1.0), None, None),
    ],
)
def test_clearly_differ(old: tuple, new: tuple, p_value: float | None, expected: bool | None) -> None:
    assert clearly_differ(Estimate(*old), Estimate(*new), p_value) is expected


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_chance_alone_is_seldom_called_a_change(share: float) -> None:
    """Two parts of ten lines of eight prompts, whose eight rollouts are much alike: no change, and one below 5%."""
    random = np.random.default_rng(0)

    def part() -> list[tuple[float, float]]:
        prompts = random.beta(share, 1 - share, size=(10, 8))  # correlation 0.5
        return [(float(line.sum()), 64.0) for line in random.binomial(8, prompts)]

    pairs = [(part(), part()) for _ in range(400)]
    found = [clearly_differ(rate_over_lines(a, 8, b), rate_over_lines(b, 8, a)) for a, b in pairs]
    assert np.mean(found) < 0.05
