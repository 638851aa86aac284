"""`system_prompt="omit"`: what the guard sees of a prompt, and who sees all of it."""

from __future__ import annotations

import asyncio

import pytest

from guard_reward import AsyncGuardReward, GuardReward
from tests.rewards.helpers import THINK, Log, image_row
from tests.scripted_guard import ScriptedGuard

RULES = {"role": "system", "content": "Never say bomb."}
DEVELOPER = {"role": "developer", "content": "Be brief."}
HOW, WHY = {"role": "user", "content": "How?"}, {"role": "user", "content": "Why?"}
HELLO = {"role": "assistant", "content": "Hello."}
EMPTY = {"role": "user", "content": ""}


def asked(prompt, mode, completion="fine", **settings):
    guard = ScriptedGuard()
    GuardReward(guard, system_prompt=mode, **settings)([prompt], [completion])
    return guard.asked


def answer(text):
    return {"role": "assistant", "content": text}


@pytest.mark.parametrize(
    ("prompt", "seen"),
    [
        ([RULES, HOW], [HOW]),
        ((RULES, HOW), [HOW]),
        ([RULES, DEVELOPER, HOW, HELLO, WHY], [HOW, HELLO, WHY]),
        ([{**RULES, "content": [{"type": "text", "text": "Never."}]}, HOW], [HOW]),
        ([RULES, HELLO, HOW], [EMPTY, HELLO, HOW]),  # shown, it would be a user's message
        ([HOW], [HOW]),
        ([HOW, HELLO, RULES, WHY], [HOW, HELLO, {"role": "user", "content": "[system] Never say bomb.\n\nWhy?"}]),
        ([RULES], [{"role": "user", "content": "[system] Never say bomb."}]),  # it is what was answered
        ("Never say bomb. How?", [{"role": "user", "content": "Never say bomb. How?"}]),
    ],
)
@pytest.mark.parametrize("thinking", ["separate", "joint", "ignore"])
def test_what_the_guard_sees_of_a_prompt(prompt, seen, thinking):
    [conversation] = asked(prompt, "omit", thinking=thinking)
    assert conversation == [*seen, answer("fine")]


@pytest.mark.parametrize("begun", [[RULES, HOW], [RULES]])
def test_a_begun_answer_stays_in_the_answer(begun):
    [conversation] = asked([*begun, answer("It is ")], "omit", "fine")
    assert conversation[-1] == answer("It is fine")
    assert RULES not in conversation


def test_thinking_and_prompt_are_judged_without_it_too():
    conversations = asked([RULES, HOW], "omit", THINK("plan", "fine"), scheme="appropriate_refusal")
    assert sorted(map(len, conversations)) == [1, 2, 2]
    assert RULES not in [message for conversation in conversations for message in conversation]


def test_it_is_shown_by_default():
    assert asked([RULES, HOW], "show") == [[RULES, HOW, answer("fine")]]
    guard = ScriptedGuard()
    reward = GuardReward(guard)
    reward([[RULES, HOW]], ["fine"])
    assert reward.system_prompt == "show"
    assert guard.asked == [[RULES, HOW, answer("fine")]]


def test_a_verdict_on_the_prompt_is_no_longer_about_the_system_prompt():
    prompt = [{"role": "user", "content": "How?"}]
    rules = [{"role": "developer", "content": "bomb"}, {"role": "assistant", "content": "Hello."}]
    for mode, rate in (("show", 1.0), ("omit", 0.0)):

        class Everything(ScriptedGuard):
            def moderate(self, conversations):
                return [self._judge(" ".join(turn["content"] for turn in turns)) for turns in conversations]

        log = Log()
        reward = GuardReward(Everything(), "appropriate_refusal", system_prompt=mode)
        reward([[*rules, *prompt]], ["fine"], log_metric=log.metric)
        assert log.metrics["guard/prompt/unsafe_rate"] == [rate]


def test_helpfulness_sees_the_whole_prompt():
    seen = []

    def helpfulness(prompts, completions, **columns):
        seen.extend(prompts)
        return [1.0] * len(completions)

    GuardReward(ScriptedGuard(), "hybrid", helpfulness=helpfulness, system_prompt="omit")([[RULES, HOW]], ["fine"])
    assert seen == [[RULES, HOW]]


def test_the_asynchronous_reward_has_the_option():
    guard = ScriptedGuard()
    asyncio.run(AsyncGuardReward(guard, system_prompt="omit")([[RULES, HOW]], ["fine"]))
    assert guard.asked == [[HOW, answer("fine")]]


@pytest.mark.parametrize("prompt", [None, 3, [], [None], [RULES, {"role": "narrator", "content": "x"}], [RULES, 3]])
def test_a_prompt_that_cannot_be_read_has_its_outcome(prompt):
    for mode in ("show", "omit"):
        log = Log()
        rewards = GuardReward(ScriptedGuard(), system_prompt=mode)([prompt], ["fine"], log_extra=log.extra)
        assert (rewards, log.columns["guard_outcome"]) == ([None], ["guard_error"])


def test_an_image_in_the_system_prompt_is_an_unreadable_row_in_both_modes():
    [row] = image_row("rules")
    for mode in ("show", "omit"):
        reward = GuardReward(ScriptedGuard(), system_prompt=mode)
        assert reward([[{**row, "role": "system"}, HOW]], ["fine"]) == [None]


@pytest.mark.parametrize("mode", ["hide", "", None, True])
def test_other_modes_are_refused(mode):
    with pytest.raises(ValueError, match="system_prompt should be 'show' or 'omit'"):
        GuardReward(ScriptedGuard(), system_prompt=mode)
