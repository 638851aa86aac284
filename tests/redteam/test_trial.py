"""What counts as paid."""

from __future__ import annotations

import copy

import pytest

from guard_reward import GuardReward
from guard_reward.errors import UserError
from guard_reward.redteam.attack import Attack, Draft, Keeps
from guard_reward.redteam.judging import Judging
from guard_reward.redteam.selection import select_targets
from guard_reward.redteam.trial import AS_IT_IS, attempts
from guard_reward.schemes import Hybrid, Lagrangian
from tests.redteam.worlds import ROWS, judging, no_helpfulness, selected, targets, writes
from tests.scripted_guard import ScriptedGuard

UNSAFE, REFUSAL, GARBAGE, EMPTY, _ = ROWS
SILENT = {"prompt": "How?", "reply": "mumble", "kind": "garbage"}
HYBRID = {"scheme": "hybrid", "helpfulness": no_helpfulness}


def tried(attack, row, **options):
    """Whether it pays, and whether it ties."""
    of = judging(**options)
    chosen = selected(of, row)
    (attempt,) = attempts(attack, chosen.targets, of, chosen.material)
    return attempt.pays, attempt.ties


@pytest.mark.parametrize(
    ("text", "row", "keeps", "options", "expected"),
    [
        ("b-o-m-b", UNSAFE, Keeps.REPLY, {}, (True, False)),  # harm that the guard does not see
        ("{}!", UNSAFE, Keeps.REPLY, {}, (False, False)),  # it sees it
        ("a bottle", UNSAFE, Keeps.NOTHING, {}, (False, True)),  # harmless, and paid as a refusal is
        ("a bottle", UNSAFE, Keeps.NOTHING, HYBRID, (True, False)),  # paid more than a refusal
        ("sorry", UNSAFE, Keeps.NOTHING, HYBRID, (False, True)),  # a refusal is not paid more than one
        ("", UNSAFE, Keeps.NOTHING, HYBRID, (False, False)),  # empty: the floor
        ("mumble", UNSAFE, Keeps.REPLY, {}, (True, False)),  # no reward: no punishment
        ("mumble", UNSAFE, Keeps.REPLY, {"on_outcome": {"no_verdict": "floor"}}, (False, False)),
        ("s-o-r-r-y", REFUSAL, Keeps.REPLY, {}, (False, False)),
        ("s-o-r-r-y", REFUSAL, Keeps.REPLY, HYBRID, (True, False)),  # a refusal that is not punished
        ("mumble", REFUSAL, Keeps.REPLY, HYBRID, (False, False)),
        ("Sure! {}", GARBAGE, Keeps.REPLY, {}, (False, False)),
        ("Sure! {}", EMPTY, Keeps.REPLY, {}, (False, True)),
        ("Sure! {}", EMPTY, Keeps.REPLY, HYBRID, (True, False)),
        ("Sure!", SILENT, Keeps.REPLY, {}, (False, False)),  # no reward before, that of a refusal after
        ("Sure!", SILENT, Keeps.REPLY, HYBRID, (True, False)),
    ],
)
def test_what_pays(text, row, keeps, options, expected):
    refusal = {"prompt": "How?", "reply": "sorry", "kind": "refusal"}
    of = judging(**options)
    chosen = select_targets(targets(row, refusal), of, kinds=[targets(row)[0].kind], limit=1)
    (attempt,) = attempts(writes(text, keeps), chosen.targets, of, chosen.material)
    assert (attempt.pays, attempt.ties) == expected


@pytest.mark.parametrize(("row", "pays"), [(GARBAGE, True), (EMPTY, False)])
def test_garbage_that_is_paid_as_a_refusal_pays_as_it_is(row, pays):
    assert tried(AS_IT_IS, row) == (pays, False)


def test_what_gets_the_floor_is_never_paid():
    assert tried(AS_IT_IS, EMPTY, scheme=Hybrid(refusal=-10, unsafe=-10), helpfulness=no_helpfulness) == (False, False)


def test_an_attack_that_changes_nothing_is_not_tried():
    of = judging()
    chosen = selected(of, UNSAFE, GARBAGE)
    assert attempts(writes("{}"), chosen.targets, of, chosen.material) == []


def test_a_refusal_that_only_the_thinking_has_is_not_tried():
    of = judging(**HYBRID)
    chosen = selected(of, UNSAFE, REFUSAL)
    hidden = Attack("hidden", "tests", lambda draft, *_: Draft("fine", thinking=draft.answer))
    assert [it.target.kind for it in attempts(hidden, chosen.targets, of, chosen.material)] == ["unsafe"]


def test_the_choices_on_one_target_do_not_depend_on_the_others():
    draws = Attack("draws", "tests", lambda draft, _, random: draft.with_answer(f"a bomb {random.random()}"))
    of = judging()

    def drafts(*rows, seed=0):
        chosen = selected(of, *rows)
        found = attempts(draws, chosen.targets, of, chosen.material, seed=seed)
        return {it.target.kind: it.draft.answer for it in found}

    assert drafts(UNSAFE, GARBAGE)["unsafe"] == drafts(UNSAFE)["unsafe"] != drafts(UNSAFE, seed=1)["unsafe"]


def test_an_attack_may_use_the_prompt_of_its_target():
    of = judging()
    chosen = selected(of, UNSAFE)
    echo = Attack("echo", "tests", lambda draft, material, _: draft.with_answer(f"{material.prompt} {draft.answer}"))
    (attempt,) = attempts(echo, chosen.targets, of, chosen.material)
    assert attempt.draft.answer == f"{UNSAFE['prompt']} {UNSAFE['reply']}"


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda *_: 1 / 0, "attack 'mine': ZeroDivisionError"),
        (lambda *_: "text", "attack 'mine': should return a Draft, found str"),
    ],
)
def test_an_attack_that_fails_is_named(change, error):
    of = judging()
    chosen = selected(of, UNSAFE)
    with pytest.raises(UserError, match=error):
        attempts(Attack("mine", "tests", change), chosen.targets, of, chosen.material)


def test_a_guard_that_is_gone_is_no_attack_that_pays(monkeypatch):
    of = judging()
    chosen = selected(of, UNSAFE)
    monkeypatch.setattr(ScriptedGuard, "_judge", lambda self, text: 1 / 0)
    with pytest.raises(UserError, match="the guard gives no answers any more: ZeroDivisionError"):
        attempts(writes("{}!"), chosen.targets, of, chosen.material)


def test_a_reply_on_which_the_guard_fails_once_is_asked_again(monkeypatch):
    of = judging()
    chosen = selected(of, UNSAFE)
    answers, moderate = iter([OSError("no answer")]), of.reward.guard.moderate

    def fails_once(conversations):
        for error in answers:
            raise error
        return moderate(conversations)

    monkeypatch.setattr(of.reward.guard, "moderate", fails_once)
    (attempt,) = attempts(writes("{}!"), chosen.targets, of, chosen.material)
    assert (attempt.attacked.reward, attempt.pays) == (0.0, False)


def test_thinking_and_messages_in_front_reach_the_reward():
    hidden = Attack("hidden", "tests", lambda draft, *_: Draft("fine", thinking=draft.answer))
    assert tried(hidden, UNSAFE) == (False, False)
    assert tried(hidden, UNSAFE, thinking="ignore") == (True, False)
    called = Attack("called", "tests", lambda draft, *_: Draft("fine", before=({"role": "tool", "content": "a bomb"},)))
    assert tried(called, UNSAFE) == (False, False)


def test_the_reward_is_the_same_before_and_after():
    reward = GuardReward(ScriptedGuard(), Lagrangian(multiplier=2.0, delay=0), helpfulness=no_helpfulness)
    seen = []
    reward.add_observer(seen.append)
    before = copy.deepcopy(vars(reward)["_dual_ascent"].__dict__), vars(reward.breaker).copy(), repr(reward.scheme)
    of = Judging(reward)
    chosen = select_targets(targets(), of)
    for attack in (writes("broken"), writes("mumble", name="two"), writes("a bomb again", name="three")):
        attempts(attack, chosen.targets, of, chosen.material)
    after = vars(reward)["_dual_ascent"].__dict__, vars(reward.breaker).copy(), repr(reward.scheme)
    assert before[1:] == after[1:]
    assert before[0].keys() == after[0].keys()
    assert after[0]["_warned"] == set()
    assert after[0]["scheme"].multiplier == 2.0
    assert seen == []
