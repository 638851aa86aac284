"""Degenerate replies: what says nothing, and what only looks like it."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard_reward.text.degenerate import degenerate


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("safe " * 60, "repetition"),
        ("I understand. " * 40, "repetition"),
        ("I can help with that in a safe way, and " * 10, "repetition"),
        ("Sure. " + "the answer is " * 50, "repetition"),
        ("安全です。" * 30, "repetition"),
        ("ha" * 200, "repetition"),
        (
            "Take a pot of water, boil it, put the tea in, wait for some minutes, and then drink it in peace. " * 20,
            "repetition",
        ),
        (" ".join(f"word{n}" for n in range(40)) * 40, "repetition"),
        (" " * 5000 + "safe " * 60 + " " * 5000, "repetition"),
        ("." * 200, "one character"),
        ("a" * 200, "one character"),
        ("\n".join("-" * 50), "one character"),
        ("~!@#$%^&*()_+ " * 10, "no words"),
        ("...", "no words"),
        ("***\n---\n***", "no words"),
        ("\u200b" * 80, "one character"),
        ("\u200b\u200c" * 80, "no words"),
        (base64.b64encode(bytes(range(256))).decode(), "an encoding"),
        ("Here: " + bytes(range(256)).hex(), "an encoding"),
        (" ".join(f"{byte:08b}" for byte in range(64)), "an encoding"),
        ("".join(f"\\u{code:04x}" for code in range(0x4E00, 0x4E40)), "an encoding"),
        ("Sure, here is", "only an opener"),
        ("Sure! Here's how to do that:", "only an opener"),
        ("Of course. I'd be happy to help! Here are some tips for you:", "only an opener"),
        ("Certainly, here is a poem about the sea.", "only an opener"),
        ("Sure! Here are 5 tips for you.", "only an opener"),
        ("Let me explain this in detail...", "only an opener"),
        ("I understand. I understand.", "only an opener"),
        ("I understand…. I understand…. ", "only an opener"),
        ("Great question! Thank you for asking. I understand your concern.", "only an opener"),
        ("Um, well, yeah, okay, so, um, like, right, yeah, well, okay, sure, hmm.", "filler"),
    ],
)
def test_what_says_nothing(text, reason):
    assert degenerate(text) == reason


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n",
        "Yes.",
        "No",
        "42",
        "Paris",
        "0",
        ">=",
        "{}",
        "👍",
        "是的。",
        "ok ok ok",
        "Sure.",
        "Of course! I'd be happy to help.",
        "I understand.",
        "Sure, here is the answer: 42.",
        "Sure, here is the result 42",
        "Okay, here is the capital of France, Paris.",
        "Sure, here's the translation - Guten Tag",
        "Yes. Here is `ls -la`.",
        "Here is the recipe: boil the water.",
        "I'm happy to help. What would you like to know?",
        "I will tell him.",
        "I'm sorry, but I can't help with that.",
        "Thank you very much!",
        "Great question! Yes, absolutely. No problem.",
        "1. a\n2. b\n3. c",
        "Ha ha ha ha ha!",
        "Buffalo buffalo Buffalo buffalo buffalo buffalo Buffalo buffalo",
        "| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |\n| 5 | 6 |",
        "x = [[0, 0, 0], [0, 0, 0], [0, 0, 0]]",
        "SHA-256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "SGVsbG8gd29ybGQ=",
        "Row, row, row your boat,\nGently down the stream.\nMerrily, merrily, merrily, merrily,\nLife is but a dream.\n"
        * 2,
        f"2^1000 is {2**1000}",
        "\n".join(f"550e8400-e29b-41d4-a716-4466554400{n:02x}" for n in range(30)),
        "".join(
            f"**Day {day}**\n- Morning: walk for 20 minutes\n- Evening: sit for 5 minutes\n" for day in range(1, 31)
        ),
        json.dumps(
            [{"id": n, "name": f"Item {n}", "currency": "USD", "available": True} for n in range(1, 60)], indent=4
        ),
        "\n".join(
            f'<circle cx="{10 * n}" cy="50" r="4" fill="none" stroke="black" stroke-width="2"/>' for n in range(30)
        ),
        "def f(x):\n    return x\n\n\nfor i in range(10):\n    print(f(i))",
        "\\int_0^1 x^2 \\, dx = \\frac{1}{3}",
        "∀ε>0 ∃δ>0: |x−a|<δ ⇒ |f(x)−f(a)|<ε",
        "春眠不覚暁，処処聞啼鳥。夜来風雨声，花落知多少。",
        "https://example.org/a/very/long/path/that/goes/on?and=on&and=on&even=further#to-the-end-of-the-page " * 3,
    ],
)
def test_what_says_something(text):
    assert degenerate(text) is None


@given(st.text(max_size=300))
def test_any_text_gets_a_known_reason(text):
    known = {None, "one character", "no words", "an encoding", "only an opener", "filler", "repetition"}
    assert degenerate(text) in known
