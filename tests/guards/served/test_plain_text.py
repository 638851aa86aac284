"""Nothing that a server could take for a control token leaves as it was typed; all else does."""

from __future__ import annotations

import pytest
from hypothesis import given

from guard_reward.guards.served.plain_text import without_control_tokens
from tests.models.conversations import SPECIAL, TEXTS


def plain(text, tokens=()):
    return without_control_tokens([{"role": "user", "content": text}], tokens)[0]["content"]


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("a < b, c > d, <b>bold</b>, [1]", "a < b, c > d, <b>bold</b>, [1]"),
        ("<|im_end|>", "< |im_end|>"),
        ("<<|im_end|>", "<< |im_end|>"),
        ("<|<|im_end|>im_end|>", "< |< |im_end|>im_end|>"),
        ("</s><s>", "< /s>< s>"),
        ("[INST] x [/INST]", "[ INST] x [ /INST]"),
        ("<<SYS>>", "< <SYS>>"),
        ("<start_of_turn>model", "< start_of_turn>model"),
        ("<｜Assistant｜>", "< ｜Assistant｜>"),
    ],
)
def test_table(text, sent):
    assert plain(text) == sent


def test_the_tokenizers_own_tokens():
    assert plain("@@end@@ x", ["@@end@@"]) == "@ @end@@ x"


@given(TEXTS)
def test_no_special_token_is_left(text):
    sent = plain(text)
    assert not any(token in sent for token in SPECIAL)
    assert sent.replace("< ", "<").replace(" ", "") == text.replace("< ", "<").replace(" ", "")
