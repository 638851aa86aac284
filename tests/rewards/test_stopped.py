"""What a stream guard found in a rollout that it stopped counts beside the verdict of the reward's guard."""

from __future__ import annotations

import pytest
from transformers import TrainerState

from guard_reward import GuardReward, schemes
from tests.rewards.helpers import THINK, Log, by_length, score
from tests.scripted_guard import ScriptedGuard

STOPPED = "<think>first build the"  # no answer yet


def rank(assessment):
    return -float(assessment.answer.severity.rank)


def no_opinion(completions, **columns):
    return [None] * len(completions)


@pytest.mark.parametrize(
    ("scheme", "options", "completion", "severity", "paid"),
    [
        ("guard_only", {}, "fine", "Unsafe", 0.0),  # its own guard reads the text up to there
        ("guard_only", {}, "a bomb", "Controversial", 0.0),  # the worse one counts
        ("guard_only", {}, "fine", None, 1.0),
        ("severity", {}, "fine", "Unsafe", -1.0),
        ("severity", {}, "fine", "Controversial", 0.0),
        ("guard_only", {"controversial": "safe"}, "fine", "Controversial", 1.0),  # as the user says
        ("guard_only", {"controversial": "safe"}, "fine", "Unsafe", 0.0),
        ("hybrid", {}, "fine", "Unsafe", -10.0),
        (schemes.Soft(schemes.GuardOnly()), {}, "likely", "Unsafe", 0.0),  # its probabilities too
        (schemes.Soft(schemes.GuardOnly()), {}, "a bomb", "Unsafe", 0.0),
        ("hybrid", {"helpfulness": no_opinion}, STOPPED, "Unsafe", -10.0),  # of an answer that is none
        ("severity", {}, STOPPED, "Unsafe", -1.0),  # in its thinking
        ("guard_only", {"controversial": "safe"}, STOPPED, "Controversial", 0.0),  # without an answer nothing is paid
        ("guard_only", {"thinking": "ignore"}, STOPPED, "Unsafe", 0.0),
        ("severity", {}, THINK("hm", "fine"), "Unsafe", -1.0),
        ("severity", {}, "mumble", "Unsafe", -1.0),  # no verdict is no way out
        ("severity", {}, "mumble", "Controversial", None),
        (rank, {"on_outcome": {"empty": None}}, "fine", "Unsafe", -2.0),  # a scheme without a worst value
    ],
)
def test_rewards(scheme, options, completion, severity, paid):
    reward = GuardReward(ScriptedGuard(), scheme, **{"helpfulness": by_length, **options})
    assert score(reward, completion, stopped_severity=[severity]) == [paid]


@pytest.mark.parametrize("of", ["min", "mean", "position"])
def test_scores_of_tokens_are_the_worst(tiny_stream_guard, of):
    """A flag always stands at the end of what was stopped, which is not late."""
    reward = GuardReward(tiny_stream_guard, schemes.TokenScore(of))
    prompts, completions = ["How do I use a blue gravok?"] * 2, ["Sure. First cut the gravok, then", STOPPED]
    assert reward(prompts=prompts, completions=completions, stopped_severity=["Unsafe"] * 2) == [0.0, 0.0]


def test_it_counts_in_the_metrics_and_is_not_truncated():
    log = Log()
    reward = GuardReward(ScriptedGuard(), eos_token_ids=2)
    score(reward, "fine", "fine", log=log, completion_ids=[[5, 6], [5, 6]], stopped_severity=["Unsafe", None])
    assert log.metrics["guard/unsafe_rate"] == [1.0, 0.0]
    assert log.columns["guard_truncated"] == [False, True]
    assert log.columns["guard_outcome"] == ["scored", "scored"]


def test_a_learned_multiplier_counts_it():
    """Else it would fall to 0, and unsafe rollouts would be paid for their helpfulness."""
    reward = GuardReward(
        ScriptedGuard(), schemes.Lagrangian(unsafe_rate=0.05, learning_rate=0.2), helpfulness=by_length
    )
    state = TrainerState()
    paid = []
    for step in range(30):
        state.global_step = step
        paid.append(score(reward, *["fine", STOPPED] * 4, stopped_severity=["Unsafe"] * 8, trainer_state=state))
    assert paid[-1] < paid[0]


def test_rollouts_that_end_in_their_thinking_are_no_outage():
    reward = GuardReward(ScriptedGuard())
    for _ in range(20):
        score(reward, *[STOPPED] * 8, stopped_severity=["Unsafe"] * 8)


def test_prompts_are_judged_all_the_same():
    reward = GuardReward(ScriptedGuard(), "appropriate_refusal")
    unstopped = score(reward, "a bomb")
    assert score(reward, STOPPED, "fine", stopped_severity=["Unsafe"] * 2) == unstopped * 2


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["Safe"], "should hold Controversial, Unsafe and None, found 'Safe'"),
        ([True], "found True"),
        ([], "has 0 values"),
    ],
)
def test_other_values(values, message):
    with pytest.raises(ValueError, match=f"stopped_severity .*{message}"):
        score(GuardReward(ScriptedGuard()), "fine", stopped_severity=values)
