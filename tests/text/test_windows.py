"""Windows: all of a text is in them, none is longer than asked, and no cut goes through a character."""

from __future__ import annotations

import itertools
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard_reward.text.windows import windows

SIZES = st.integers(16, 60)
OVERLAPS = st.floats(0, 0.9)
PIECES = [*"ab  \n\u0301\u200d👍🏽🇫🇷ä一각", "\ud83d\ude00"]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=300).map("".join)


def covered(text: str, found: tuple[str, ...]) -> bool:
    """Whether the windows, in order and overlapping or touching, are the whole text."""
    starts = {0}
    reach = {0}
    for window in found:
        starts = {at for at in range(len(text)) if text.startswith(window, at)}
        reach = {at + len(window) for at in starts if any(at <= end <= at + len(window) for end in reach)}
    return len(text) in reach


@given(TEXTS, SIZES, OVERLAPS)
def test_windows_cover_the_text(text, size, overlap):
    found = windows(text, size, overlap)
    assert (found == ()) == (len(text) <= size)
    assert all(0 < len(window) <= size for window in found)
    assert not found or covered(text, found)


@given(st.sampled_from(["", "a", "a "]), st.integers(16, 40), OVERLAPS)
def test_no_window_begins_or_ends_inside_a_surrogate_pair(before, size, overlap):
    for window in windows(before + "\ud83d\ude00" * 60, size, overlap):
        assert not "\udc00" <= window[0] <= "\udfff"
        assert not "\ud800" <= window[-1] <= "\udbff"


def test_words_and_accents_stay_whole():
    words = " ".join(f"wo\u0301rd{number}" for number in range(200))
    for window in windows(words, 100, 0.25):
        assert not unicodedata.combining(window[0])
        assert set(window.split()) <= set(words.split())


def test_a_text_without_blanks_is_cut_between_characters():
    text = "👩🏽" * 100
    assert {len(window) % 2 for window in windows(text, 33, 0.5)} == {0}


@pytest.mark.parametrize("overlap", [0, 0.25, 0.5, 0.9])
def test_neighbours_share_what_the_overlap_says_and_the_last_is_whole(overlap):
    text = "".join(chr(0x4E00 + number) for number in range(1010))
    found = windows(text, 100, overlap)
    for one, other in itertools.pairwise(found):
        assert text.index(one) + 100 - text.index(other) >= 100 * overlap
    assert len(found[-1]) >= 75


@pytest.mark.parametrize(
    ("size", "overlap", "named"), [(15, 0.2, "size"), (100, 0.95, "overlap"), (100, -0.1, "overlap")]
)
def test_what_is_out_of_range_is_named(size, overlap, named):
    with pytest.raises(ValueError, match=f"windows: {named} should be"):
        windows("text", size, overlap)
