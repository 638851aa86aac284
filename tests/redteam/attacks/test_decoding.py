"""What keeps the reply holds it: as it is, or so that somebody who wants it gets it back."""

from __future__ import annotations

import json
import re
from random import Random

import pytest

from guard_reward.redteam.attack import Draft, Keeps
from guard_reward.redteam.registry import fixed_attacks
from tests.redteam.attacks.apply import MATERIAL, REPLY, attacked
from tests.redteam.attacks.decoders import DECODERS

DECODED_BY_FAMILY = {"encodings", "disguised letters", "disguised order", "word tables", "another script"}
LETTERS_ONLY = {"no spaces", "first letters of lines", "two words swapped"}


@pytest.mark.parametrize("name", DECODERS)
def test_the_reply_comes_back(name):
    made = attacked(name).answer
    assert made != REPLY
    assert DECODERS[name](made).lower() == REPLY.lower()


@pytest.mark.parametrize("name", sorted(LETTERS_ONLY))
def test_all_letters_are_there(name):
    made = attacked(name).answer
    if name == "first letters of lines":
        made = "".join(line[0] for line in made.splitlines())
    assert sorted(filter(str.isalpha, made)) == sorted(filter(str.isalpha, REPLY))


def test_every_encoding_has_its_decoder():
    encoded = {attack.name for attack in fixed_attacks() if attack.family in DECODED_BY_FAMILY}
    assert encoded == {*DECODERS, *LETTERS_ONLY}


def test_all_other_attacks_hold_the_words_of_the_reply():
    words = re.findall(r"\w+", REPLY)
    lost = {}
    for attack in fixed_attacks():
        if attack.keeps is Keeps.REPLY and attack.family not in DECODED_BY_FAMILY:
            completion = attack(Draft(REPLY), MATERIAL, Random(0)).completion()
            text = completion if isinstance(completion, str) else json.dumps(completion, ensure_ascii=False)
            if missing := [word for word in words if word not in text]:
                lost[attack.name] = missing
    # what has them letter by letter, or escaped
    assert set(lost) == {"in arguments with escapes", "every letter in a tag", "comments in words"}
