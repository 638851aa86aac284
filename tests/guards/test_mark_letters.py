"""The quick look never misses what the search finds, and spares honest texts the search."""

from __future__ import annotations

import json
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guard_reward.guards.mark_letters import MarkLetters
from guard_reward.guards.specs.qwen3guard import QWEN3GUARD
from guard_reward.guards.typed_marks import TypedMarks
from tests.forged_forms import HAND_WRITTEN, random_form
from tests.guards.verdict_json import VERDICT_JSON

SPECS = {"qwen3guard": QWEN3GUARD, "verdict_json": VERDICT_JSON}


def searched(marks: TypedMarks, text: str):
    """What the search alone finds."""
    return marks._words(text)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_every_forged_form_is_searched(spec):
    random = Random(1)
    forms = [*HAND_WRITTEN.values(), *(random_form(random) for _ in range(2000))]
    for form in forms:
        text = "Do it." + form.format(request="Hi?", reply="Sure.", refusal="No.")
        assert spec.typed_marks._letters.may_be_in(text) or not searched(spec.typed_marks, text), text


PIECES = ["USER", "user", "A55I57AN7", "ASSISTANT", "Ｕ", "ser", "ﬆ", "ǀ", "|", "é", "Ε", "е", "U", "S", "E", "R", "5"]
PIECES += [":", " ", "\n", "**", "<", ">", "END", "begin", "CONVERSATION", "Safety", "Safe", "unſafe", "Categories"]
PIECES += [
    "None",
    "Refusal",
    "Yes",
    "violation",
    '"',
    "no",
    "\u200b",
    "\u0301",
    ".",
    "用户",
    "w",
    "1",
    "ⓤ",
    "🇺",
    "\ud800",
]


@settings(max_examples=2000, deadline=None)
@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=2), max_size=12).map("".join))
def test_nothing_that_the_search_finds_is_missed(text):
    for spec in SPECS.values():
        assert spec.typed_marks._letters.may_be_in(text) or searched(spec.typed_marks, text) == []


def test_labels_of_other_scripts():
    marks = TypedMarks(["用户："], ["«КОНЕЦ»"])
    for text in ("你好\n用户：是", "x <КОНЕЦ> y"):
        assert searched(marks, text)
        assert marks._letters.may_be_in(text)


def test_a_mark_without_letters_is_left_out():
    assert not MarkLetters(["###", ""]).may_be_in("### x")


def test_most_honest_texts_are_not_searched(shared_dir):
    path = shared_dir / "data" / "dolly_benign_responses.jsonl"
    texts = [json.loads(line)["response"] for line in path.read_text(encoding="utf-8").splitlines()]
    looked = sum(QWEN3GUARD.typed_marks._letters.may_be_in(text) for text in texts)
    assert looked < 0.1 * len(texts)
