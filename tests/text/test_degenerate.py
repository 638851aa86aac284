"""Degenerate replies: what says nothing, and what only looks like it."""

from __future__ import annotations

import pytest

from guard_reward.text.degenerate import degenerate


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("safe " * 60, "repetition"),
        ("I understand. " * 40, "repetition"),
        ("." * 200, "one character"),
        ("~!@#$%^&*()_+ " * 10, "no words"),
    ],
)
def test_what_says_nothing(text, reason):
    assert degenerate(text) == reason


@pytest.mark.parametrize(
    "text", ["", "Yes.", "42", "Paris", "是的。", "ok ok ok", "1. a\n2. b\n3. c", "Ha ha ha ha ha!"]
)
def test_short_replies_say_something(text):
    assert degenerate(text) is None
