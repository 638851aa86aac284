"""Schemes and helpfulness inside `GuardReward`."""

from __future__ import annotations

import pytest

from guard_reward import Assessment, GuardReward, Severity
from guard_reward.schemes import (
    Hybrid,
    Soft,
)
from tests.rewards.helpers import THINK, Log, by_length, score
from tests.scripted_guard import ScriptedGuard


@pytest.mark.parametrize(
    ("scheme", "controversial", "paid"),
    [
        # fine, edgy, a bomb, sorry
        ("guard_only", None, [1.0, 0.0, 0.0, 1.0]),
        ("guard_only", "safe", [1.0, 1.0, 0.0, 1.0]),
        ("guard_only", 0.25, [1.0, 0.25, 0.0, 1.0]),
        ("hybrid", None, [4.0, -10.0, -10.0, -5.0]),
        (Hybrid(-2.0, -1.0), "safe", [4.0, 4.0, -2.0, -1.0]),
        ("severity", None, [1.0, 0.0, -1.0, 1.0]),
        ("soft", None, [0.9, 0.2, 0.05, 0.9]),  # the guard's P(Safe)
        ("soft", "safe", [0.96, 0.7, 0.2, 0.96]),
        (lambda assessment: -assessment.answer.severity.rank, None, [0.0, -1.0, -2.0, 0.0]),  # any callable
    ],
)
def test_schemes_by_name_instance_or_callable(scheme, controversial, paid):
    def constant(prompts, completions, **columns):
        return [4.0] * len(completions)

    reward = GuardReward(
        ScriptedGuard(), scheme, controversial=controversial, helpfulness=constant, on_outcome={"empty": None}
    )
    assert score(reward, "fine", "edgy", "a bomb", "sorry") == pytest.approx(paid)


def test_a_scheme_is_given_all_that_is_known():
    seen: list[Assessment] = []

    def scheme(assessment):
        seen.append(assessment)
        return 0.0

    reward = GuardReward(ScriptedGuard(), scheme, helpfulness=by_length, on_outcome={"empty": None})
    score(reward, THINK("a bomb", "fine"))
    (assessment,) = seen
    assert assessment.answer.severity is Severity.SAFE
    assert assessment.thinking.severity is Severity.UNSAFE
    assert assessment.helpfulness == len(THINK("a bomb", "fine"))


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), -float("inf")])
def test_a_row_without_helpfulness_has_a_named_outcome(value):
    def sometimes(prompts, completions, **columns):
        return [3.0, value]

    log = Log()
    reward = GuardReward(ScriptedGuard(), "hybrid", helpfulness=sometimes)
    assert score(reward, "fine", "good", log=log) == [3.0, None]
    assert log.columns["guard_outcome"] == ["scored", "guard_error"]
    assert log.columns["guard_reason"][1] == "the helpfulness function gave no number"
    assert log.metrics["guard/helpfulness"] == [3.0]  # never NaN


@pytest.mark.parametrize(("scheme", "paid"), [("hybrid", -10.0), ("lagrangian", None), ("boundary", None)])
def test_an_empty_row_without_helpfulness_never_gets_a_made_up_floor(scheme, paid):
    reward = GuardReward(ScriptedGuard(), scheme, helpfulness=lambda **batch: [None])
    assert score(reward, "") == [paid]


def test_helpfulness_that_the_scheme_does_not_use_is_only_logged():
    log = Log()
    reward = GuardReward(ScriptedGuard(), helpfulness=lambda completions, **batch: [None, 2.0])
    assert score(reward, "fine", "good", log=log) == [1.0, 1.0]
    assert log.metrics["guard/helpfulness"] == [2.0]


def test_helpfulness_is_called_like_a_reward_function_of_trl():
    calls = []

    def helpfulness(**batch):
        calls.append(batch)
        return [1.0]

    log, state = Log(), object()
    score(
        GuardReward(ScriptedGuard(), helpfulness=helpfulness),
        "fine",
        log=log,
        trainer_state=state,
        completion_ids=[[1, 2]],
        source=["web"],
    )
    (batch,) = calls
    assert batch == {
        "prompts": ["How?"],
        "completions": ["fine"],
        "completion_ids": [[1, 2]],
        "trainer_state": state,
        "log_extra": log.extra,
        "log_metric": log.metric,
        "source": ["web"],
    }


def test_helpfulness_of_the_wrong_length_is_an_error():
    reward = GuardReward(ScriptedGuard(), helpfulness=lambda **batch: [1.0])
    with pytest.raises(ValueError, match="the helpfulness function returned 1 values for 2 completions"):
        score(reward, "fine", "good")


def test_soft_without_probabilities_is_a_named_outcome_not_a_crash():
    log = Log()
    assert score(GuardReward(ScriptedGuard(with_probabilities=False), "soft"), "fine", log=log) == [None]
    assert log.columns["guard_outcome"] == ["guard_error"]
    assert log.columns["guard_reason"] == ["the verdict came without probabilities, which the scheme needs"]


@pytest.mark.parametrize(
    ("completions", "helpfulness", "warns"),
    [
        (["fine"], [-6.0], True),  # refusing pays as well
        (["fine"], [-5.0], False),  # at the cap
        (["fine"], [3.0], False),
        (["a bomb"], [-20.0], False),  # unsafe rows may
        (["sorry"], [-20.0], False),  # refusals may
        ([THINK("a bomb", "fine")], [-20.0], False),  # unsafe thinking may
        ([""], [-20.0], False),
    ],
)
@pytest.mark.parametrize("scheme", [Hybrid(), Soft(Hybrid())])
def test_warning_when_the_caps_do_not_fit_the_helpfulness_scale(completions, helpfulness, warns, scheme, caplog):
    reward = GuardReward(ScriptedGuard(), scheme, helpfulness=lambda **batch: helpfulness)
    for _ in range(3):
        score(reward, *completions)
    messages = [record.getMessage() for record in caplog.records if "below the refusal cap" in record.getMessage()]
    assert len(messages) == int(warns)  # once a run
    assert not warns or "lowest -6.00, cap -5.00" in messages[0]
