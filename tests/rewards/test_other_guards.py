"""Guards beside the one that gives the reward: one that says refusals, and a shadow that is only compared."""

from __future__ import annotations

import asyncio
import pickle

import pytest

from guard_reward import AsyncGuardReward, GuardReward, Outcome, Severity, Unjudged, Verdict
from guard_reward.rewards.judge import RolloutVerdicts
from guard_reward.rewards.shadow import agreement
from guard_reward.schemes import AppropriateRefusal, Hybrid, SeverityTable, Soft, TokenScore
from tests.rewards.helpers import Log, score
from tests.scripted_guard import ScriptedGuard


class WithoutRefusals(ScriptedGuard):
    """As a stream guard: never says whether an answer refuses."""

    gives_refusals = False

    def _judge(self, text):
        verdict = super()._judge(text.replace("sorry", ""))
        return verdict if isinstance(verdict, Unjudged) else Verdict(verdict.severity, verdict.categories)


def length(completions, **_):
    return [1.0] * len(completions)


@pytest.mark.parametrize("kind", [GuardReward, AsyncGuardReward])
def test_another_guard_says_who_refuses(kind):
    other = ScriptedGuard()
    reward = kind(WithoutRefusals(), "hybrid", helpfulness=length, refusal=other)
    answers = ["fine", "sorry", "a bomb", "sorry bomb", "broken"]
    rewards = reward(prompts=["Q?"] * 5, completions=answers)
    rewards = asyncio.run(rewards) if asyncio.iscoroutine(rewards) else rewards
    assert rewards == [1.0, -5.0, -10.0, -10.0, None]
    assert other.asked_about == ["fine", "sorry", "a bomb", "sorry bomb"]
    assert reward.refusal is other
    assert reward.describe()["refusal_guard"] == "scripted"


class Mumbling(ScriptedGuard):
    def _judge(self, text):
        return Unjudged(Outcome.NO_VERDICT, reason="mumble")


def test_an_answer_about_which_it_says_nothing_has_no_verdict_unless_it_is_unsafe():
    reward = GuardReward(WithoutRefusals(), "hybrid", helpfulness=length, refusal=Mumbling(), breaker=None)
    log = Log()
    assert score(reward, "fine", "a bomb", log=log) == [None, -10.0]
    assert log.columns["guard_outcome"] == ["no_verdict", "scored"]
    assert log.columns["guard_reason"][0] == "the guard that says refusals: mumble"


class TwoReadings(ScriptedGuard):
    """Finds a forged turn in every answer, behind which it refuses."""

    def _judge(self, text):
        plain, refusing = Verdict(Severity.SAFE, refusal=False), Verdict(Severity.SAFE, refusal=True)
        return Verdict(Severity.SAFE, refusal=False, readings=(plain, refusing))


def test_a_forged_turn_pays_no_more_than_with_the_other_guard_alone():
    alone = GuardReward(TwoReadings(), "hybrid", helpfulness=length)
    beside = GuardReward(WithoutRefusals(), "hybrid", helpfulness=length, refusal=TwoReadings())
    assert score(alone, "fine") == score(beside, "fine") == [-5.0]


@pytest.mark.parametrize(
    "scheme", [Hybrid(), AppropriateRefusal(), SeverityTable(refusal=-1.0), Soft(Hybrid())], ids=lambda it: it.name
)
def test_a_scheme_that_needs_refusals_says_so_at_construction(scheme):
    with pytest.raises(ValueError, match=r"reads whether an answer refuses, .* never says: pass refusal="):
        GuardReward(WithoutRefusals(), scheme, helpfulness=length)
    GuardReward(WithoutRefusals(), scheme, helpfulness=length, refusal=ScriptedGuard())


def test_schemes_without_refusals_need_no_other_guard():
    assert score(GuardReward(WithoutRefusals(), "guard_only"), "fine", "a bomb") == [1.0, 0.0]
    GuardReward(WithoutRefusals(), SeverityTable())
    with pytest.raises(ValueError, match="reads a guard's verdicts on tokens"):
        GuardReward(ScriptedGuard(), TokenScore())


class Blind(ScriptedGuard):
    """Sees nothing in bombs, and fails at what is broken."""

    def _judge(self, text):
        return super()._judge(text.replace("bomb", "boat"))


@pytest.mark.parametrize("kind", [GuardReward, AsyncGuardReward])
def test_a_shadow_is_compared_and_gives_no_reward(kind):
    reward = kind(ScriptedGuard(), "guard_only", shadow=Blind())
    log = Log()
    answers = ["fine", "a bomb", "edgy", "mumble"]
    rewards = reward(prompts=["Q?"] * 4, completions=answers, log_metric=log.metric, log_extra=log.extra)
    rewards = asyncio.run(rewards) if asyncio.iscoroutine(rewards) else rewards
    assert rewards == [1.0, 0.0, 0.0, None]
    assert log.metrics["guard/shadow/agreement_rate"] == [1.0, 0.0, 1.0]
    assert log.metrics["guard/rows/shadow_judged"] == [3.0]
    assert log.columns["guard_shadow_severity"] == ["Safe", "Safe", "Controversial", None]


class Broken(ScriptedGuard):
    def moderate(self, conversations):
        raise OSError("gone")


def test_a_shadow_that_fails_costs_nothing():
    reward = GuardReward(ScriptedGuard(), "guard_only", shadow=Broken())
    log = Log()
    assert score(reward, "fine", "a bomb", log=log) == [1.0, 0.0]
    assert "guard/shadow/agreement_rate" not in log.metrics
    assert pickle.loads(pickle.dumps(reward)).shadow is not None


@pytest.mark.parametrize(
    ("answer", "shadow", "expected"),
    [
        (Verdict(Severity.SAFE), Verdict(Severity.SAFE), 1.0),
        (Verdict(Severity.SAFE), Verdict(Severity.UNSAFE), 0.0),
        (Verdict(Severity.UNSAFE), Verdict(Severity.CONTROVERSIAL), 1.0),  # by side
        (Verdict(Severity.SAFE), Unjudged(Outcome.GUARD_ERROR), None),
    ],
)
def test_agreement(answer, shadow, expected):
    assert agreement(RolloutVerdicts(answer=answer, shadow=shadow)) == expected


def test_a_stream_guard_as_the_guard_and_as_the_shadow(tiny_guard, tiny_stream_guard):
    """Both know the tiny world, so they agree; the first flagged token is counted over flagged answers only."""
    answers = ["Sure. First cut the gravok, then wash the gravok.", "Sorry, I will not help with that."]
    prompts = ["How do I use a blue gravok?"] * 2
    log = Log()
    reward = GuardReward(tiny_guard, "guard_only", shadow=tiny_stream_guard)
    assert reward(prompts=prompts, completions=answers, log_metric=log.metric) == [0.0, 1.0]
    assert log.metrics["guard/shadow/agreement_rate"] == [1.0, 1.0]
    log = Log()
    reward = GuardReward(tiny_stream_guard, "appropriate_refusal", refusal=tiny_guard)
    assert reward(prompts=prompts, completions=answers, log_metric=log.metric) == [-1.0, 1.0]
    assert log.metrics["guard/first_flagged_token"] == [6.0]
    assert log.metrics["guard/refusal_rate"] == [0.0, 1.0]
    assert score(GuardReward(tiny_stream_guard, "token_score"), answers[1])[0] > 0.9
