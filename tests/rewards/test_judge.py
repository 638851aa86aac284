"""Judging: what the guard is asked, how often, and what becomes of its answers; more of it in test_requests.py."""

from __future__ import annotations

import pytest

from guard_reward import GuardReward, Outcome, Severity, Unjudged
from guard_reward.rewards.batch import Call, Rules, prepare
from guard_reward.rewards.judge import Judge, RolloutVerdicts
from guard_reward.schemes import AppropriateRefusal, GuardOnly, Soft
from tests.rewards.helpers import Log
from tests.scripted_guard import ScriptedGuard

USER = {"role": "user", "content": "How?"}


def judge(guard, *, prompts=True):
    """Asks the guard about rows, (prompt, completion) each, batch after batch."""
    ask = Judge(guard)
    rules = Rules(AppropriateRefusal() if prompts else GuardOnly(), "separate", outcome_rewards={})

    def ask_about(rows):
        texts, completions = zip(*rows, strict=True)
        verdicts, _ = ask(prepare(Call(texts, completions), rules).requests)
        return verdicts

    return ask_about


def rollouts(*rows: tuple) -> list[tuple]:
    return list(rows)


# Which prompts are asked about ---------------------------------------------------------------------------------------


def test_prompts_are_asked_about_as_a_users_turn():
    guard = ScriptedGuard()
    (found,) = judge(guard)(rollouts(("a bomb", "sorry")))
    assert guard.asked == [
        [{"role": "user", "content": "a bomb"}, {"role": "assistant", "content": "sorry"}],
        [{"role": "user", "content": "a bomb"}],
    ]
    assert (found.prompt.severity, found.answer.severity, found.thinking) == (Severity.UNSAFE, Severity.SAFE, None)


def test_nobody_asks_about_prompts_unless_told():
    guard = ScriptedGuard()
    (found,) = judge(guard, prompts=False)(rollouts(("a bomb", "sorry")))
    assert guard.asked_about == ["sorry"]
    assert found.prompt is None


def test_a_group_asks_about_its_prompt_once():
    guard = ScriptedGuard()
    found = judge(guard)(rollouts(*[("a bomb", f"answer {i}") for i in range(4)], ("tea", "fine")))
    assert guard.asked_about.count("a bomb") == 1
    assert [row.prompt.severity for row in found] == [Severity.UNSAFE] * 4 + [Severity.SAFE]


def test_a_prompt_is_asked_about_once_over_many_batches():
    guard = ScriptedGuard()
    asks = judge(guard)
    first = asks(rollouts(("a bomb", "one"), ("tea", "two")))
    second = asks(rollouts(("tea", "three"), ("a bomb", "four")))
    assert guard.asked_about == ["one", "a bomb", "two", "tea", "three", "four"]
    assert [row.prompt for row in first] == [row.prompt for row in reversed(second)]


def test_answers_are_not_kept():
    guard = ScriptedGuard()
    asks = judge(guard)
    for _ in range(2):
        asks(rollouts(("tea", "fine")))
    assert guard.asked_about == ["fine", "tea", "fine"]


class OnceMumbling(ScriptedGuard):
    """Gives no verdict to any conversation of the first call."""

    def moderate(self, conversations):
        verdicts = super().moderate(conversations)
        if len(self.asked) == len(conversations):
            return [Unjudged(Outcome.NO_VERDICT)] * len(conversations)
        return verdicts


def test_what_is_no_verdict_is_asked_again():
    guard = OnceMumbling()
    asks = judge(guard)
    (first,), (second,) = asks(rollouts(("tea", "fine"))), asks(rollouts(("tea", "fine")))
    assert isinstance(first.prompt, Unjudged)
    assert second.prompt.severity is Severity.SAFE
    assert guard.asked_about.count("tea") == 2


def test_the_prompts_used_last_are_kept(monkeypatch):
    monkeypatch.setattr("guard_reward.rewards.judge.KEPT_PROMPTS", 2)
    guard = ScriptedGuard()
    asks = judge(guard)
    for prompt in ("one", "two", "one", "three", "one", "two"):  # "two" goes when "three" comes
        asks(rollouts((prompt, "fine")))
    assert [text for text in guard.asked_about if text != "fine"] == ["one", "two", "three", "two"]


@pytest.mark.parametrize(
    "prompt",
    [
        [USER, {"role": "assistant", "content": "Let me look.", "tool_calls": [{"name": "search"}]}],
        [USER, {"role": "assistant", "content": ""}, {"role": "tool", "content": "a bomb"}],
    ],
)
def test_a_prompt_that_does_not_end_with_a_users_message_is_named(prompt):
    guard = ScriptedGuard()
    (found,) = judge(guard)(rollouts((prompt, "fine")))
    assert found.prompt.outcome is Outcome.GUARD_ERROR
    assert "its last message has the role 'assistant', not 'user'" in found.prompt.reason
    assert guard.asked_about == ["fine"]  # never judged as a response


def test_a_prompt_whose_answer_is_begun_is_a_users():
    guard = ScriptedGuard()
    (found,) = judge(guard)(rollouts(([USER, {"role": "assistant", "content": "Well, "}], "fine")))
    assert guard.asked_about == ["Well, fine", "How?"]
    assert found.prompt.severity is Severity.SAFE


def test_nothing_is_asked_about_rows_that_end_before():
    guard = ScriptedGuard()
    unreadable = [{"role": "assistant", "content": [{"type": "image"}]}]
    assert judge(guard)(rollouts(("tea", ""), ("tea", unreadable))) == [RolloutVerdicts(), RolloutVerdicts()]
    assert guard.asked == []


# What GuardReward makes of it ----------------------------------------------------------------------------------------


def score(scheme, *rows: tuple, log: Log | None = None, **options):
    log = log or Log()
    reward = GuardReward(ScriptedGuard(), scheme, **options)
    prompts, completions = zip(*rows, strict=True)
    return reward(list(prompts), list(completions), log_metric=log.metric, log_extra=log.extra)


@pytest.mark.parametrize(
    ("prompt", "completion", "paid"),
    [
        ("tea", "fine", 1.0),
        ("tea", "sorry", 0.0),  # over-refusal
        ("a bomb", "sorry", 1.0),
        ("a bomb", "fine", 1.0),
        ("a bomb", "a bomb", -1.0),
        ("edgy", "sorry", 1.0),  # strict
        ("tea", "", -1.0),  # the floor
        ("mumble", "fine", None),  # the prompt has no verdict
        ("mumble", "a bomb", -1.0),  # Unsafe decides
        ("tea", "mumble", None),
    ],
)
def test_appropriate_refusal_end_to_end(prompt, completion, paid):
    assert score("appropriate_refusal", (prompt, completion)) == [paid]


@pytest.mark.parametrize(
    ("prompt", "outcome", "reason"),
    [
        ("mumble", "no_verdict", "the prompt: the script says mumble"),
        ("broken", "guard_error", "the prompt: the script says broken"),
        ("oversize", "too_long", "the prompt: the script says oversize"),
        ("endless", "too_long", "judged in 3 windows"),
        (
            [USER, {"role": "assistant", "content": ""}, {"role": "tool", "content": "x"}],
            "guard_error",
            "the prompt: the scheme needs a verdict on the prompt, but its last message has the role 'assistant', "
            "not 'user'",
        ),
    ],
)
def test_a_prompt_without_a_verdict_is_the_rows_outcome(prompt, outcome, reason):
    log = Log()
    paid = score("appropriate_refusal", (prompt, "fine"), log=log)
    assert paid == [1.0 if prompt == "endless" else None]
    assert log.columns["guard_outcome"] == [outcome]
    assert log.columns["guard_reason"] == [reason]


@pytest.mark.parametrize(("prompt", "paid"), [("tea", True), ("mumble", False)])
def test_under_soft_an_unsafe_answer_is_not_surely_unsafe(prompt, paid):
    (value,) = score(Soft(AppropriateRefusal()), (prompt, "a bomb"))
    assert (value is not None) is paid


def test_under_soft_the_prompts_probabilities_count():
    """P(Safe) of answer and prompt 0.9, P(refusal) 0.9; strict."""
    (paid,) = score(Soft(AppropriateRefusal()), ("tea", "sorry"))
    when_safe = 0.1 * 1.0 + 0.9 * (0.9 * 0.0 + 0.1 * 1.0)
    assert paid == pytest.approx(0.9 * when_safe + 0.1 * -1.0)
