"""`GuardReward.judged` says what a call would, and leaves no trace."""

from __future__ import annotations

import pytest

from guard_reward import GuardReward
from guard_reward.rewards.circuit_breaker import CircuitBreaker
from guard_reward.rewards.defences import Defences, HelpfulnessRails
from guard_reward.schemes import Lagrangian
from tests.scripted_guard import ScriptedGuard

REPLIES = [
    "fine",
    "a bomb",
    "sorry",
    "edgy",
    "...",
    "mumble",
    "broken",
    "qwer " * 40,
    "YSBib21i",
    "<think>a bomb</think>fine",
]


def long_helpfulness(prompts, completions, **_):
    return [float(len(completion)) for completion in completions]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"defences": Defences.off()},
        {"defences": Defences.strict()},
        {"scheme": "hybrid", "helpfulness": long_helpfulness},
        {
            "scheme": "hybrid",
            "helpfulness": long_helpfulness,
            "defences": Defences(helpfulness=HelpfulnessRails(low=0.0, high=5.0)),
        },
        {"scheme": Lagrangian(multiplier=3.0), "helpfulness": long_helpfulness},
        {"thinking": "ignore", "on_outcome": {"no_verdict": "floor"}},
    ],
)
def test_the_rewards_are_those_of_a_call(options):
    reward = GuardReward(ScriptedGuard(), **options, breaker=None)
    prompts = ["How?"] * len(REPLIES)
    assert [row.reward for row in reward.judged(prompts, REPLIES)] == reward(prompts=prompts, completions=REPLIES)


def test_no_observer_sees_it_and_no_breaker_counts_it():
    reward, seen = GuardReward(ScriptedGuard(), breaker=CircuitBreaker(window=4)), []
    reward.add_observer(seen.append)
    assert [row.reward for row in reward.judged(["How?"] * 20, ["broken"] * 20)] == [None] * 20
    assert seen == []
    assert reward(prompts=["How?"] * 3, completions=["fine"] * 2 + ["broken"]) == [1.0, 1.0, None]  # no outage
