"""Label probabilities from tokens as text, against the probabilities that the text was made from."""

from __future__ import annotations

import math

import pytest

from guard_reward.guards.served.label_log_probs import label_log_probs
from guard_reward.guards.specs.llama_guard import LLAMA_GUARD
from guard_reward.guards.specs.qwen3guard import QWEN3GUARD

ANSWER = QWEN3GUARD.response_answer


def places(*tokens, **options):
    """(token, its alternatives) for each token; options by place: p3={" Safe": 0.9}."""
    return [
        (token, {text: math.log(p) for text, p in options.get(f"p{place}", {token: 0.99}).items()})
        for place, token in enumerate(tokens)
    ]


@pytest.mark.parametrize(
    ("by_text", "expected"),
    [
        (
            places("Safety", ":", " Safe", "\n", "Categories", ":", " None", "\n", "Refusal", ":", " Yes",
                   p2={" Safe": 0.7, " Unsafe": 0.2, " Controvers": 0.05, " X": 0.05}, p10={" Yes": 0.6, " No": 0.3}),
            {"severity": {"Safe": 0.7, "Unsafe": 0.2, "Controversial": 0.05}, "refusal": {"Yes": 0.6, "No": 0.3}},
        ),
        (  # blanks are tokens of their own; a label in two pieces
            places("Safety:", " ", "S", "afe", "\nCategories: None\nRefusal:", " Y", "es",
                   p2={"S": 0.8, "Un": 0.1, "C": 0.1}, p5={" Y": 0.5, " N": 0.5}),
            {"severity": {"Safe": 0.8, "Unsafe": 0.1, "Controversial": 0.1}, "refusal": {"Yes": 0.5, "No": 0.5}},
        ),
        (  # the label and what stands before it in one token; two tokens of one label
            places("Safety", ": Safe", "\nCategories: None\nRefusal: Yes",
                   p1={": Safe": 0.5, ": S": 0.2, ": Unsafe": 0.3}),
            {"severity": {"Safe": 0.7, "Unsafe": 0.3}},
        ),
        ([], {}),
        (places("something", " else"), {}),
    ],
)  # fmt: skip
def test_table(by_text, expected):
    text = "Safety: Safe\nCategories: None\nRefusal: Yes"
    found = label_log_probs(ANSWER, text, by_text)
    for slot, labels in expected.items():
        assert {label: math.exp(value) for label, value in found[slot].items()} == pytest.approx(labels)
    assert "severity" in expected or not found


@pytest.mark.parametrize("text", ["safe", "\n\nsafe", " safe\n"])
@pytest.mark.parametrize("tokens", [("\n\n", "safe"), ("safe",), ("\n", "\n", "safe", "<|eot_id|>"), (" ", "safe")])
def test_blanks_that_a_server_strips_move_no_label(text, tokens):
    """The alternatives of the blanks are not those of the label."""
    by_text = places(*tokens, **{f"p{tokens.index('safe')}": {"safe": 0.8, "unsafe": 0.2}})
    found = label_log_probs(LLAMA_GUARD.response_answer, text, by_text)["severity"]
    assert {label: math.exp(value) for label, value in found.items()} == pytest.approx({"safe": 0.8, "unsafe": 0.2})


def test_tokens_of_another_text_have_none():
    """Such as those of reasoning that the text leaves out."""
    assert label_log_probs(LLAMA_GUARD.response_answer, "safe", places("unsafe", "?", "\n", "safe")) == {}


def test_text_that_is_no_answer_has_none():
    assert label_log_probs(ANSWER, "I think so", places("I think so")) == {}
