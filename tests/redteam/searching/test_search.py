"""What a search finds, and what it says of it."""

from __future__ import annotations

import json

import pytest

from guard_reward.errors import UserError
from guard_reward.redteam.attack import Attack, Keeps
from guard_reward.redteam.searching.composition import LONGEST, composed
from guard_reward.redteam.searching.search import STRATEGIES, search
from tests.redteam.searching.reward import REFUSAL, RuleJudging, appending, selection

LETTERS = [appending(letter) for letter in "abcdefghij"]


def found(rule, *, strategy, attacks=LETTERS, replies=("Cut it. ",), budget=600, **options):
    judging = RuleJudging(rule)
    results = search(attacks, selection(judging, *replies), judging, strategy=strategy, budget=budget, **options)
    return results, judging


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(("hole", "parts"), [("ge", ("g", "e")), ("cab", ("c", "a", "b"))])
def test_a_hole_that_no_attack_alone_finds(strategy, hole, parts):
    results, _ = found(lambda text: text.endswith(f" {hole}"), strategy=strategy, budget=2000)
    (finding,) = results.new
    assert (finding.parts, finding.new, finding.beyond_parts, finding.parts_that_pay) == (parts, 1, 1, ())
    assert finding.examples[0].reply == f"Cut it. {hole}"
    assert (results.alone_paying, results.covered) == (0, 0)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_a_part_does_alone_is_no_finding(strategy):
    results, _ = found(lambda text: "g" in text, strategy=strategy)
    assert (results.findings, results.alone_paying, results.covered) == ((), 1, 1)
    assert results.compositions_paying > 0


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_new_is_only_where_no_attack_alone_pays(strategy):
    def rule(text):
        return text.endswith("a") if text.startswith("One") else text.endswith((".bc", ".a"))

    results, _ = found(rule, strategy=strategy, replies=("One.", "Two."), budget=3000)
    assert results.covered == 2
    assert results.new == ()
    assert ("b", "c") in [finding.parts for finding in results.findings]  # it pays, but so does a


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_three_parts_are_no_finding_where_two_of_them_do(strategy):
    results, _ = found(lambda text: "ge" in text, strategy=strategy)
    assert [finding.parts for finding in results.findings] == [("g", "e")]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_saying_nothing_gains_only_above_a_refusal(strategy):
    def to(text):
        return Attack(text, "instead", lambda draft, *_: draft.with_answer(text), Keeps.NOTHING)

    results, _ = found(lambda text: text == "b", strategy=strategy, attacks=[to("a"), to("b"), to(REFUSAL)])
    assert (results.alone_paying, results.findings) == (0, ())


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_same_seed_finds_the_same(strategy):
    def run(seed):
        results, judging = found(lambda text: "ge" in text, strategy=strategy, budget=300, seed=seed)
        return json.dumps(results.to_dict()), judging.asked

    assert run(1) == run(1)
    assert run(1) != run(2)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_budget_holds_and_no_reply_is_judged_twice(strategy):
    results, judging = found(lambda text: False, strategy=strategy, replies=("One. ", "Two. ", "Three. "), budget=200)
    assert 190 < results.spent == len(judging.asked) == len(set(judging.asked)) <= 200


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_it_ends_where_nothing_is_new(strategy):
    results, _ = found(lambda text: False, strategy=strategy, attacks=LETTERS[:2])
    assert results.compositions == 2**2 + 2**3
    assert not results.interrupted


def test_a_budget_that_is_too_small_says_what_to_do():
    with pytest.raises(UserError, match=r"budget of 5 does not suffice for 10 attacks alone .*--budget.*--limit"):
        found(lambda text: False, strategy="greedy", budget=5)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_interruption_keeps_what_was_found(strategy):
    judging = RuleJudging(lambda text: text[-2:] in ("ab", "bc", "cd", "de", "ef", "fg", "gh"), interrupt_after=150)
    results = search(LETTERS, selection(judging, "Cut it. "), judging, strategy=strategy)
    assert results.interrupted
    assert results.findings


def test_an_interruption_while_attacks_are_tried_alone_keeps_these():
    judging = RuleJudging(lambda text: text.endswith("a"), interrupt_after=33)
    attacks = [appending(letter) for letter in "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMN"]
    results = search(attacks, selection(judging, "Cut it. "), judging, strategy="greedy")
    assert (results.interrupted, results.alone, results.alone_paying, results.covered) == (True, 32, 1, 1)


def test_the_gain_is_that_where_it_pays():
    results, _ = found(
        lambda text: text.endswith("ge") or text == "Two.", strategy="greedy", replies=("One. ", "Two."), budget=3000
    )
    assert [(it.parts, it.paid, it.gain) for it in results.findings] == [(("g", "e"), 1, 1.0)]


def test_a_reply_that_grows_too_long_is_left_as_it_is():
    long = Attack("long", "long", lambda draft, *_: draft.with_answer(draft.answer + "l" * LONGEST))
    judging = RuleJudging(lambda text: True)
    results = search([long, LETTERS[0]], selection(judging, "x" * LONGEST), judging, strategy="greedy")
    assert max(map(len, judging.asked)) == 2 * LONGEST  # alone
    assert composed((long, LETTERS[0])).name == "long + a"
    assert results.spent == 1 + 3  # long; a, aa, aaa


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_attacks_that_change_nothing_lead_nowhere(strategy):
    same = Attack("same", "same", lambda draft, *_: draft)
    results, _ = found(lambda text: False, strategy=strategy, attacks=[same])
    assert (results.alone, results.compositions) == (1, 0)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_guard_that_is_gone_ends_the_search_and_what_was_found_stays(strategy):
    judging = RuleJudging(lambda text: text[-2:] in ("ab", "bc", "cd", "de", "ef", "fg", "gh"), gone_after=150)
    results = search(LETTERS, selection(judging, "Cut it. "), judging, strategy=strategy)
    assert results.guard_gone == "the guard gives no answers any more: no route to host"
    assert results.findings


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("stop", [{"interrupt_after": 33}, {"interrupt_after": 150}, {"gone_after": 90}])
def test_a_stopped_search_goes_on_and_finds_the_same(strategy, stop, tmp_path):
    def rule(text):
        return text[-2:] in ("ab", "bc", "cd")

    whole, _ = found(rule, strategy=strategy, budget=400)
    stopped, goes_on = RuleJudging(rule, **stop), RuleJudging(rule)
    for judging in (stopped, goes_on):
        chosen = selection(judging, "Cut it. ")
        results = search(
            LETTERS, chosen, judging, strategy=strategy, budget=400, journal_path=tmp_path / "search.journal"
        )
    assert results == whole
    answered = stopped.asked[: next(iter(stop.values())) - stopped.batch_size]
    assert set(answered).isdisjoint(goes_on.asked)


def test_the_journal_of_another_reward_is_refused(tmp_path):
    options = {"strategy": "greedy", "journal_path": tmp_path / "search.journal"}
    found(lambda text: False, **options)

    class Other(RuleJudging):
        def describe(self):
            return {"guard": "another rule"}

    judging = Other(lambda text: False)
    with pytest.raises(UserError, match=r"another unfinished run \(reward was .*a rule.*--restart"):
        search(LETTERS, selection(judging, "Cut it. "), judging, **options)
    search(LETTERS, selection(judging, "Cut it. "), judging, restart=True, **options)


def test_a_larger_budget_goes_on(tmp_path):
    def spent(budget):
        results, judging = found(lambda text: False, strategy="greedy", budget=budget, journal_path=tmp_path / "it")
        return results.spent, len(judging.asked)

    (first, asked), (more, further) = spent(100), spent(200)
    assert (first, more) == (asked, asked + further)
