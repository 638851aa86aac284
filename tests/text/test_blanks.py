"""Long runs of blanks."""

from __future__ import annotations

import pytest

from guard_reward.text.blanks import without_blanks
from guard_reward.text.views import views


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\n" * 1000 + "Mix them.", "Mix them."),
        ("Mix them." + " " * 1000, "Mix them."),
        ("Sure." + "\u3000" * 500 + "Mix them.", "Sure. Mix them."),
        ("Sure." + " \n" * 500 + "Mix them.", "Sure.\n\nMix them."),
        ("Sure." + "\u200b " * 500 + "Mix them.", "Sure. Mix them."),  # with hidden characters among them
    ],
)
def test_the_guard_is_shown_the_text_without_them(text, shown):
    assert views(text)[-1] == shown


@pytest.mark.parametrize("text", ["a\n\n\nb", "name" + " " * 30 + "age", "def f():\n" + " " * 36 + "return 1\n"])
def test_tables_and_indentation_stay(text):
    assert without_blanks(text) == text
    assert views(text) == ()
