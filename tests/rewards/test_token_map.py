"""Where a policy's tokens stand in their text."""

from __future__ import annotations

import numpy as np
import pytest

from guard_reward.rewards.token_map import token_ends, tokens_at
from guard_reward.tiny.tokenizer import build_tokenizer
from tests.languages import SENTENCES


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer("policy")


@pytest.mark.parametrize("language", SENTENCES)
def test_ends_are_the_tokenizers_own_offsets(tokenizer, language):
    text = SENTENCES[language]
    encoding = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    found, ends = token_ends(tokenizer, encoding["input_ids"])
    assert found == tokenizer.decode(encoding["input_ids"])
    assert ends[-1] == len(found)
    assert (np.diff(ends) >= 0).all()
    for number, end in enumerate(ends):  # each end is that of the text that is whole by then
        decoded = tokenizer.decode(encoding["input_ids"][: number + 1])
        assert end == len(decoded.rstrip("\ufffd"))


def test_control_tokens_have_no_characters(tokenizer):
    ids = tokenizer("Sure.<|im_end|>", add_special_tokens=False)["input_ids"]
    text, ends = token_ends(tokenizer, ids)
    assert (text, ends[-1]) == ("Sure.", 5)
    assert token_ends(tokenizer, [])[0] == ""


class DroppingBlanks:
    """As tokenizers that drop the blank in front of what they decode."""

    def decode(self, ids, **_):
        return "".join(f" w{number}" for number in ids).lstrip()


def test_a_tokenizer_whose_tokens_cannot_be_decoded_alone():
    text, ends = token_ends(DroppingBlanks(), [1, 2, 3])
    assert (text, ends.tolist()) == ("w1 w2 w3", [2, 5, 8])


def test_bytes_that_are_no_characters(tokenizer):
    """Neither a half character at the end nor a run of broken bytes moves what stands before it, or takes long."""
    text = "Sure. First cut the gravok. " * 40
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    broken = tokenizer("你", add_special_tokens=False)["input_ids"][:-1]
    whole, ends = token_ends(tokenizer, [*ids, *broken])
    assert ends[: len(ids)].tolist() == token_ends(tokenizer, ids)[1].tolist()
    assert ends[-1] == len(whole)
    found, many = token_ends(tokenizer, [*ids, *broken * 500, *ids])
    assert many[: len(ids)].tolist() == token_ends(tokenizer, ids)[1].tolist()
    assert (np.diff(many) >= 0).all()
    assert many[-1] == len(found)


def test_every_character_has_its_token():
    ends = np.array([1, 4, 4, 6])
    assert tokens_at(ends, np.arange(8)).tolist() == [0, 1, 1, 1, 3, 3, 3, 3]
