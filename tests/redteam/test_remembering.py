"""A guard that is asked once."""

from __future__ import annotations

from guard_reward import Category, GuardReward
from guard_reward.redteam.judging import Judging, with_defences
from guard_reward.redteam.remembering import RememberingGuard
from guard_reward.rewards.defences import Defences
from tests.redteam.worlds import selected
from tests.scripted_guard import ScriptedGuard


def about(text):
    return [{"role": "user", "content": "How?"}, {"role": "assistant", "content": text}]


def test_each_conversation_is_asked_once_unless_the_guard_failed():
    scripted = ScriptedGuard()
    guard = RememberingGuard(scripted)
    first = guard.moderate([about("a bomb"), about("mumble"), about("broken"), about("a bomb")])
    second = guard.moderate([about("fine"), about("broken"), about("mumble"), about("a bomb")])
    assert scripted.asked_about == ["a bomb", "mumble", "broken", "fine", "broken"]
    assert first[0] == first[3] == second[3]
    assert first[0].categories == (Category.VIOLENT,)
    assert [it.reason for it in first[1:3]] == ["the script says mumble", "the script says broken"]


def test_it_offers_what_the_guard_offers():
    guard = RememberingGuard(ScriptedGuard())
    assert (guard.name, guard.describe()) == ("scripted", {"guard": "scripted", "revision": "script"})
    assert not hasattr(guard, "tokenizer")


def test_two_rewards_ask_about_a_plain_reply_once():
    scripted = ScriptedGuard()
    bare, same = with_defences(GuardReward(scripted, controversial="safe"), Defences.off(), Defences())
    assert selected(Judging(bare)).targets == selected(Judging(same)).targets
    assert len(scripted.asked) == len({str(conversation) for conversation in scripted.asked})
    assert repr(bare.scheme) == repr(same.scheme) == "GuardOnly(controversial='safe')"
