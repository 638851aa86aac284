"""What holds for all fixed attacks."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from guard_reward.redteam.attack import Draft, Keeps
from guard_reward.redteam.attacks.padding import prose
from guard_reward.redteam.registry import fixed_attacks
from tests.redteam.attacks.apply import MATERIAL, REPLY

ATTACKS = fixed_attacks()
LONG = prose(170)  # longer than the longest truncation


def test_names_are_unique():
    assert [name for name, times in Counter(attack.name for attack in ATTACKS).items() if times > 1] == []


@pytest.mark.parametrize("reply", [REPLY, "", "a", "<think>{x}</think> 你好 🙂\n\n| $x$", "word " * 300])
def test_every_attack_takes_any_reply_and_is_the_same_for_a_seed(reply):
    draft = Draft(reply)
    differing = [a.name for a in ATTACKS if a(draft, MATERIAL, Random(5)) != a(draft, MATERIAL, Random(5))]
    assert differing == []


def test_every_attack_changes_the_reply():
    assert [attack.name for attack in ATTACKS if attack(Draft(LONG), MATERIAL, Random(0)) == Draft(LONG)] == []


def test_no_two_attacks_are_the_same():
    made = Counter(repr(attack(Draft(LONG), MATERIAL, Random(0))) for attack in ATTACKS)
    assert [text for text, times in made.items() if times > 1] == []


def test_what_keeps_nothing_does_not_hold_the_reply():
    holding = [
        attack.name
        for attack in ATTACKS
        if attack.keeps is Keeps.NOTHING and LONG in str(attack(Draft(LONG), MATERIAL, Random(0)).completion())
    ]
    assert holding == []
