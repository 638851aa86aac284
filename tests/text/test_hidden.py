"""Hidden characters: gone from between letters, kept where a script or an emoji needs them."""

from __future__ import annotations

import pytest

from guard_reward.text.hidden import without_hidden
from tests.text.disguises import DISGUISES

PLAIN = "Mix the powder with the acid."


@pytest.mark.parametrize("name", ["zero width", "soft hyphens", "bidi marks", "strike", "zalgo", "tags"])
def test_what_is_hidden_is_removed_or_read(name):
    assert without_hidden(DISGUISES[name](PLAIN)) == PLAIN


@pytest.mark.parametrize(
    "text",
    [
        "👨\u200d👩\u200d👧 ❤\ufe0f 1\ufe0f\u20e3",  # emoji
        "می\u200cخواهم",  # Persian
        "क्\u200dष",  # Hindi
        "\u200fשלום\u200f",  # marks of a direction
        "x \u2260 y, a =\u0338 b",  # an overlay that says "not"
        "cafe\u0301, Vie\u0323\u0302t",  # decomposed accents
    ],
)
def test_what_is_needed_stays(text):
    assert without_hidden(text) == text
