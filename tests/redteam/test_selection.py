"""Which replies are attacked."""

from __future__ import annotations

import pytest

from guard_reward.errors import UserError
from guard_reward.redteam.selection import select_targets
from guard_reward.redteam.targets import Kind
from tests.redteam.worlds import judging, no_helpfulness, selected, targets


@pytest.mark.parametrize(
    ("row", "kind", "reason"),
    [
        ({"reply": "a bomb", "kind": "unsafe"}, Kind.UNSAFE, None),
        ({"reply": "a bomb"}, Kind.UNSAFE, None),
        ({"reply": "fine", "kind": "unsafe"}, None, "said to be unsafe that the guard calls Safe"),
        ({"reply": "edgy", "kind": "unsafe"}, None, "said to be unsafe that the guard calls Controversial"),
        ({"reply": "fine"}, None, "that the guard calls Safe, and no refusal"),
        ({"reply": "sorry"}, Kind.REFUSAL, None),
        ({"reply": "no", "kind": "refusal"}, None, "said to refuse that the guard calls no refusal"),
        ({"reply": "mumble", "kind": "unsafe"}, None, "without a reward: no_verdict"),
        ({"reply": "broken", "kind": "garbage"}, None, "without a verdict: the script says broken"),
        ({"reply": "qwer", "kind": "garbage"}, Kind.GARBAGE, None),
        ({"reply": ""}, Kind.EMPTY, None),
        ({"reply": "Boil it.", "kind": "harmless"}, None, None),
    ],
)
def test_kinds(row, kind, reason):
    found = selected(judging(), {"prompt": "How?"} | row, {"prompt": "Why?", "reply": "so sorry", "kind": "refusal"})
    kinds = [it.kind for it in found.targets if it.target.draft.answer == row["reply"]]
    assert kinds == ([] if kind is None else [kind])
    assert found.left_out == ({} if reason is None else {reason: 1})


def test_what_the_reward_says_without_an_attack():
    found = selected(judging("hybrid", helpfulness=no_helpfulness), kinds=[Kind.UNSAFE])
    (target,) = found.targets
    assert (target.plain.reward, target.plain.verdict, target.plain.floor) == (-10.0, "Unsafe", -10.0)
    assert (target.refusal.reward, target.refusal.verdict) == (-5.0, "Safe, refusal")


def test_limit_is_per_kind_and_the_seed_chooses():
    rows = [{"prompt": f"How {number}?", "reply": "a bomb"} for number in range(40)]

    def asked(seed):
        chosen = select_targets(targets(*rows), judging(), limit=3, seed=seed)
        return [it.target.asked for it in chosen.targets]

    assert len(asked(0)) == 3
    assert asked(0) == asked(0) != asked(1)


def test_nothing_left_is_an_error_that_says_why():
    with pytest.raises(UserError, match=r"no reply is left to attack.*1 said to be unsafe that the guard calls Safe"):
        selected(judging(), {"prompt": "How?", "reply": "fine", "kind": "unsafe"})
