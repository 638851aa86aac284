"""Whether a scheme's numbers fit the helpfulness model's scale; `Hybrid`'s caps are in tests/test_reward.py."""

from __future__ import annotations

import pytest

from guard_reward import GuardReward
from guard_reward.schemes import Boundary, GuardOnly, Lagrangian, SafeCompletion, Soft
from tests.scripted_guard import ScriptedGuard


@pytest.mark.parametrize(
    ("scheme", "completions", "helpfulness", "warning"),
    [
        (SafeCompletion(), ["fine"] * 3, [0.0, 0.4, 1.0], None),
        (SafeCompletion(), ["fine"] * 3, [-0.1, 0.4, 1.0], None),  # one outlier
        (SafeCompletion(), ["fine"] * 3, [-4.0, 0.4, 7.0], "2 of 3 rollouts .* (from -4.00 to 7.00), which is clipped"),
        (Soft(SafeCompletion()), ["fine"], [7.0], "1 of 1 rollouts have a helpfulness outside of 0.00 to 1.00"),
        (SafeCompletion((-9.0, 9.0)), ["fine"], [7.0], None),
        (SafeCompletion(), ["", "mumble"], [7.0, 7.0], None),  # not judged
        (Boundary(), ["sorry", "fine"], [1.0, 1.0], None),
        (Boundary(), ["sorry", "sorry"], [-3.0, 1.0], "1 refusals .* (lowest -3.00, blocked 0.00)"),
        (Boundary(), ["fine"], [-3.0], None),  # not a refusal
        (Boundary(blocked=-5.0), ["sorry"], [-3.0], None),
        (Lagrangian(), ["fine"], [-300.0], None),
        (GuardOnly(), ["fine"], [-300.0], None),
    ],
)
def test_what_is_warned_of_once(scheme, completions, helpfulness, warning, caplog):
    reward = GuardReward(ScriptedGuard(), scheme, helpfulness=lambda **batch: helpfulness)
    for _ in range(2):
        reward(prompts=["How?"] * len(completions), completions=completions)
    messages = [r.getMessage() for r in caplog.records if "helpfulness" in r.getMessage()]
    assert len(messages) == (warning is not None)
    for message in messages:
        for part in warning.split(" .* "):
            assert part in message
