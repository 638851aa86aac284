"""Words of a text: what stands between them, and what does not make one of many."""

from __future__ import annotations

import pytest

from guard_reward.text.word_count import word_count


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 0),
        ("Don't, it isn’t.", 3),
        ("well-known e.g. 3.5", 6),
        ("Größe naïve дом", 3),
        ("नमस्ते दुनिया", 2),
        ("磁石 iron", 3),
        ("this_is_four_words", 4),
        ("these'are'four'words", 2),
        ("diese’sind’vier’Wörter", 2),
    ],
)
def test_what_counts_as_a_word(text, words):
    assert word_count(text) == words
