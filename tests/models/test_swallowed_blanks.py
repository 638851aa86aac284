"""Special tokens that take the blanks beside them, as Phi-3's do: found as by the plain pattern, in linear time."""

from __future__ import annotations

import copy
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guard_reward.models.chat_template import Prompter

TOKENS = {  # which blanks they take: before, behind
    "<|user|>": (False, True),
    "<|end|>": (True, False),
    "<|end|>s": (True, True),  # begins with another one
    "<|pad|>": (False, False),
}
TEMPLATE = "{% for m in messages %}<|user|>\n{{ m.content }} \n<|end|>\n{% endfor %}<|pad|>"


@pytest.fixture(scope="module")
def prompter(tiny_guard):
    from tokenizers import AddedToken

    tokenizer = copy.deepcopy(tiny_guard.tokenizer)
    tokens = [
        AddedToken(token, lstrip=before, rstrip=behind, normalized=False, special=True)
        for token, (before, behind) in TOKENS.items()
    ]
    tokenizer.add_special_tokens({"extra_special_tokens": tokens})
    tokenizer.chat_template = TEMPLATE
    return Prompter(tokenizer)


@pytest.fixture(scope="module")
def plain(prompter):
    """Says what is meant: blanks, the token, blanks."""
    parts = []
    for token in prompter.special_tokens:
        before, behind = TOKENS.get(token, (False, False))
        parts.append(r"\s*" * before + re.escape(token) + r"\s*" * behind)
    return re.compile("(" + "|".join(parts) + ")")


def pieces(*others):
    return st.lists(st.sampled_from([" ", "\n", "\t", "\u00a0", "\u3000", "a", "<", *others]), max_size=12).map("".join)


@settings(max_examples=500, deadline=None)
@given(text=pieces(*TOKENS, "<|im_end|>"))
def test_the_same_tokens_are_found_as_by_the_plain_pattern(prompter, plain, text):
    assert prompter._special.split(text) == plain.split(text)


@settings(max_examples=200, deadline=None)
@given(contents=st.lists(pieces(), min_size=1, max_size=3))
def test_the_same_ids_as_the_tokenizers_own(prompter, contents):
    roles = ("user", "assistant", "user")
    turns = [{"role": role, "content": content} for role, content in zip(roles, contents, strict=False)]
    own = prompter.tokenizer.apply_chat_template(turns, tokenize=True, return_dict=False)
    assert prompter.encode_turns(turns) == own


def test_linear_time_in_blanks(prompter):
    def seconds(blanks: int) -> float:
        turns = [{"role": "user", "content": "a" + " " * blanks + "b"}]
        best = float("inf")
        for _ in range(3):
            begin = time.process_time()
            prompter.encode_turns(turns)
            best = min(best, time.process_time() - begin)
        return best

    # 16 times as many: 16 if linear, 256 if quadratic.
    assert seconds(80_000) < 64 * seconds(5_000)
