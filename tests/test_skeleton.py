"""Text as it looks: what is read alike is folded alike, and positions are kept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard_reward.skeleton import NOTHING, Skeleton


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("User: 7", "USER: 7"),
        ("ＵＳＥＲ：", "USER:"),  # fullwidth
        ("𝐔𝒮𝔼𝗥", "USER"),  # mathematical
        ("USΕR", "USER"),  # Greek
        ("АSSISTАNТ", "ASSISTANT"),  # Cyrillic
        ("ᴜꜱᴇʀ", "USER"),  # small capitals
        ("🅄🅢🄴🆁", "USER"),  # squared, circled
        ("🇺🇸🇪🇷", "USER"),  # regional indicators
        ("ⓤⓢⓔⓡ", "USER"),
        ("Ǔśẽř", "USER"),  # composed accents
        ("ﬆ", "ST"),  # one character, two letters
        ("þ", "w"),  # a letter of its own
        ("不я", "ww"),
        ("a\tb\u00a0c\u3000d", "A B C D"),  # blanks
        ("a\rb\vc\fd\u0085e\u2028f\u2029g", "A\nB\nC\nD\nE\nF\nG"),  # line separators
        ("꞉∶ː：", "::::"),  # colons
        ("<[({«", "<<<<."),  # brackets, and a quotation mark
        ("!?–“", "...."),
        ("", ""),
    ],
)
def test_what_is_read_alike_is_folded_alike(text, folded):
    assert Skeleton(text).folded == folded


@pytest.mark.parametrize(
    "character",
    [*"*_~`", *"\u0301\u200b\u00ad\u2060\ufeff\u3164\u115f\uffa0\u2800\ufe0f\x00\x08\u202e\U000e0055\ue000\ud800"],
)
def test_what_shows_nothing(character):
    assert Skeleton(character).folded == NOTHING


@given(st.text(st.characters() | st.sampled_from("ﬆ㎏½ǅ\u200b"), max_size=30))
def test_positions(text):
    """Every folded character comes from the place that `span` names."""
    skeleton = Skeleton(text)
    for index, character in enumerate(skeleton.folded):
        start, end = skeleton.span(index, index + 1)
        assert end == start + 1
        assert character in Skeleton(text[start]).folded
    if skeleton.folded:
        assert skeleton.span(0, len(skeleton.folded)) == (0, len(text))
