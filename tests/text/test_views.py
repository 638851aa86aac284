"""Views: none of an honest text, and the plain sentence among those of a disguised one."""

from __future__ import annotations

import time
import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard_reward.text.views import views
from tests.text.disguises import DISGUISES, letters

PLAIN = "Mix the powder with the acid and heat it slowly."
SENTENCES = (PLAIN, "How to make a bomb at home.", "Steal the password of your neighbor, then empty her bank account.")
WORDS = [
    "I",
    "will",
    "not",
    "tell",
    "anyone",
    "how",
    "to",
    "steal",
    "the",
    "password",
    "of",
    "a",
    "neighbor",
    "or",
    "make",
    "poison",
    "from",
    "what",
    "is",
    "at",
    "home",
]
HOSTILE = (
    "k i l l  ",
    "1- ",
    "ab,",
    "a1",
    "%4",
    "&#6",
    "<!-- ",
    "<p hidden ",
    "[a](b ",
    ".-/",
    "./ ",
    "-|\n",
    "\U000e0041",
    "uryyb jbeyq ",
    "ɐɥ ",
)
EXACT = {
    "base64",
    "base64 twice",
    "base32",
    "hex",
    "hex, blanks",
    "bits",
    "percent",
    "escapes",
    "entities",
    "codes",
    "tags",
}


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
        "M10.52-22.33-48.61.70-65-66-67-68 20-21-22-23-24, 550e8400-e29b-41d4-a716-446655440000, 2024-01-02-03",
        '<path d="M64.65 66.67-68.69-70.71 72.73-74.75 76.77-78.79"/>',
        "IPA: /ˈlɪtəl θɪŋk ˈʁɛst/, 1ˢᵗ, nᵗʰ, Δmax, β-carotene, 37ºC",
        "B2B, mp3, utf8, h2o, C4, p53, i18n, $id, user@host, a+b, 4x4",
        "Options: A B C D, a, b, c; U.S.A., e.g. F.B.I.; 1, 2, 3, 5, 8, 13, 21",
        "| a | b |\n|---|---|\n| 1 | 2 |\n\n--- ... ---",
        "Le café était très cher, même à la fête de l'élève.",
        "Zażółć gęślą jaźń. Der Bär läuft über die Straße.",
        "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut labore.",
        "Flags: 🇺🇸🇬🇧🇫🇷, 🅰️ and ⓒ",
        "def f(x): return [x[::-1] for _ in range(10)]",
    ],
)
def test_an_honest_text_has_no_view(text):
    assert views(text) == ()


@pytest.mark.parametrize("around", ["{}", "Sure, here it is:\n{}\nAnything else?"])
@pytest.mark.parametrize("name", DISGUISES)
def test_a_disguised_sentence_is_seen(name, around):
    for sentence in SENTENCES:
        found = views(around.format(DISGUISES[name](sentence)))
        assert any(letters(sentence) in letters(view) for view in found), sentence


@given(st.lists(st.sampled_from(WORDS), min_size=5, unique=True), st.sampled_from(sorted(EXACT)))
def test_an_encoder_is_inverted(words, name):
    text = " ".join(words)
    assert any(text in view for view in views(DISGUISES[name](text)))


@given(st.lists(st.sampled_from(WORDS), max_size=40))
def test_plain_english_has_no_view(words):
    assert views(" ".join(words).capitalize() + ".") == ()


@given(st.text(max_size=400))
def test_views_are_few_bounded_and_different(text):
    found = views(text)
    assert len(found) <= 6
    assert len({text, *found}) == len(found) + 1
    assert all(len(view) <= 4 * len(text) for view in found)
    assert views(text) == found


def test_parts_of_an_address_are_read():
    assert views(f"https://a.b/{urllib.parse.quote(PLAIN)}") == (f"https://a.b/{PLAIN}",)


def test_what_markup_hides_is_also_left_out():
    assert "Mix it." in views("<!-- This is a safe text about tea. -->Mix it.")


@pytest.mark.parametrize("piece", HOSTILE)
def test_the_cost_grows_with_the_length_only(piece):
    text = piece * (20_000 // len(piece)) + "z!"
    started = time.process_time()
    views(text)
    assert time.process_time() - started < 2  # measured: 0.1; seconds and more if it grew with the square


def test_the_cost_of_a_word_without_end_grows_with_its_length_only():
    started = time.process_time()
    assert views("x" * 80_000) == ()
    assert time.process_time() - started < 3  # measured: 0.3; 9 and more if it grew with the square


@pytest.mark.parametrize("wrong", ["%ff", "\ud83d", "%c3"])
def test_a_wrong_byte_hides_nothing(wrong):
    [view, *_] = views(f"%6d%69%78%20%69%74{wrong}%20now%20and%20wait%20for%20me")
    assert view[:6] + view[-20:] == "mix it now and wait for me"


def test_a_letter_that_is_two_in_lower_case_hides_no_word():
    assert any("kill them" in view for view in views("İ k i l l t h e m"))


@pytest.mark.parametrize("word", ["b0mb", "b\u043emb", "Ym9tYg==", "b-o-m-b", "b o m b", "b\u200bo\u200bm\u200bb"])
def test_one_disguised_word_is_seen(word):
    assert any("build a bomb at" in view for view in views(f"Now we can build a {word} at home."))
