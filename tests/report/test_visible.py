"""Nothing in a text is hidden from its reader."""

from __future__ import annotations

import pytest

from guard_reward.report.visible import visible


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\nb\tc", "a\nb\tc"),
        ("a\r\nb", "a\nb"),
        ("a\rb", "a␍b"),  # a terminal would write b over a
        ("\x00\x1b[31m\x7f", "␀␛[31m␡"),
        ("\u202egnp.exe", "⟨U+202E⟩gnp.exe"),  # turns the following text around
        ("a\u2066b\u2069", "a⟨U+2066⟩b⟨U+2069⟩"),
        ("in\u200bvisible\u00ad\ufeff", "in⟨U+200B⟩visible⟨U+00AD⟩⟨U+FEFF⟩"),
        ("\u2028\u2029", "⟨U+2028⟩⟨U+2029⟩"),
        ("half \ud83d", "half ⟨U+D83D⟩"),
        ("tags \U000e0041", "tags ⟨U+E0041⟩"),
        ("data\ufe00\ufe01", "data⟨U+FE00⟩⟨U+FE01⟩"),  # bytes hidden in variation selectors
        ("👩‍💻❤️ 1️⃣", "👩‍💻❤️ 1️⃣"),
        ("می‌خواهم", "می‌خواهم"),
        ("naïve 日本語 ‘quoted’", "naïve 日本語 ‘quoted’"),
    ],
)
def test_visible(text: str, expected: str) -> None:
    assert visible(text) == expected
