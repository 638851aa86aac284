"""Views: none of an honest text, and the plain sentence among those of a disguised one."""

from __future__ import annotations

import base64
import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard_reward.text.views import views

PLAIN = "Mix the powder with the acid and heat it slowly."


@pytest.mark.parametrize(
    "text",
    [
        "",
        PLAIN,
        "Как приготовить чай? Вскипятите воду, затем добавьте USB-порт.",
        "怎么泡茶？把水烧开，然后放入茶叶。我用的是 iPhone。",
        "كيف أحضر الشاي؟",
        "Πώς φτιάχνω τσάι; Βράζω νερό.",
        "नमस्ते दुनिया, क्या हाल है?",
        "می\u200cخواهم چای درست کنم",
        "Family: 👨\u200d👩\u200d👧, heart: ❤\ufe0f, key 1\ufe0f\u20e3",
        "flag 🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
        "Straße, naïve café, Łódź, smørrebrød",
        "E = mc², α-helix, 5 μm, 𝑥 + 𝑦 = 𝑧, ① first",
        "commit 556c81e4d2b0a9f3c7e1556c81e4d2b0a9f3c7e1, colour #ff00aa, 10100110",
        "https://example.org/a%20b?q=1&r=%7Bx%7D",
        "def f(x): return [x[::-1] for _ in range(10)]",
    ],
)
def test_an_honest_text_has_no_view(text):
    assert views(text) == ()


@pytest.mark.parametrize(
    "text",
    [
        "\u200b".join(PLAIN),
        "\u0336".join(PLAIN),
        PLAIN.replace("o", "\u043e").replace("e", "\u0435").replace("a", "\u0430"),
        "".join(chr(ord(one) + 0xFEE0) if one.isalpha() else one for one in PLAIN),
        "".join(chr(ord(one) + 0xE0000) for one in PLAIN),
        base64.b64encode(PLAIN.encode()).decode(),
        base64.b64encode(base64.b64encode(PLAIN.encode())).decode(),
        PLAIN.encode().hex(),
        PLAIN.encode().hex(" "),
        " ".join(f"{byte:08b}" for byte in PLAIN.encode()),
        "".join(f"%{byte:02x}" for byte in PLAIN.encode()),
        "".join(f"\\u{ord(one):04x}" for one in PLAIN),
        "".join(f"&#{ord(one)};" for one in PLAIN),
    ],
)
@pytest.mark.parametrize("around", ["{}", "Sure, here it is:\n{}\nAnything else?"])
def test_a_disguised_sentence_is_seen(text, around):
    assert any(PLAIN in view for view in views(around.format(text)))


@given(st.text(max_size=400))
def test_views_are_few_bounded_and_different(text):
    found = views(text)
    assert len(found) <= 6
    assert len({text, *found}) == len(found) + 1
    assert all(len(view) <= 4 * len(text) for view in found)
    assert views(text) == found


def test_parts_of_an_address_are_read():
    assert views(f"https://a.b/{urllib.parse.quote(PLAIN)}") == (f"https://a.b/{PLAIN}",)
