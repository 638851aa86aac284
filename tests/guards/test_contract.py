"""What a guard of any make returns: a verdict that is none costs its own row only."""

from __future__ import annotations

import numpy as np
import pytest

from guard_reward import Outcome, Probabilities, Severity, Unjudged, Verdict
from guard_reward.guards.contract import checked_verdicts

GOOD = Verdict(Severity.SAFE, probabilities=Probabilities(*np.float32([0.5, 0.25, 0.25])), label_mass=1)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"probabilities": ("a", 0, 0)}, "no guard_reward.Probabilities"),
        ({"probabilities": (0.5, 0.25, 0.25)}, "no guard_reward.Probabilities"),
        ({"probabilities": 0.5}, "no guard_reward.Probabilities"),
        ({"probabilities": Probabilities("0.5", 0, 0)}, "not finite"),
        ({"probabilities": Probabilities(0.5, None, 0)}, "not finite"),
        ({"probabilities": Probabilities(float("nan"), 0, 0)}, "not finite"),
        ({"label_mass": 10**400}, "not finite"),
        ({"refusal_probability": "high"}, "not finite"),
    ],
)
def test_wrong_numbers_cost_one_row(wrong, reason):
    good, fault = checked_verdicts([GOOD, Verdict(Severity.SAFE, **wrong)], 2)
    assert good is GOOD
    assert isinstance(fault, Unjudged)
    assert fault.outcome is Outcome.GUARD_ERROR
    assert reason in fault.reason
