"""The other forms of a reply: which ones a guard is asked about, and what their verdicts do."""

from __future__ import annotations

import base64
import codecs
from itertools import chain

import pytest

from guard_reward import Outcome, Rollout, Severity, Unjudged, Verdict
from guard_reward.conversation import Turns
from guard_reward.rewards.defences import Defences
from guard_reward.rewards.forms import MOST_FORMS, MOST_WINDOWS, Form, Forms, forms_of, merge_forms

SAFE, EDGY, UNSAFE = map(Verdict, (Severity.SAFE, Severity.CONTROVERSIAL, Severity.UNSAFE))
LOST = Unjudged(Outcome.NO_VERDICT, reason="mumble")
FORM, WINDOW = Form(Turns()), Form(Turns(), is_window=True)


def texts_of(text: str, defences: Defences) -> list[str]:
    rollout = Rollout.from_trl("How?", text)
    return [form.conversation[-1]["content"] for form in forms_of(rollout.answer_conversation(), defences)]


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("text", "defences", "forms"),
    [
        ("Ask the owner.", Defences(), []),
        ("a\u200b bo\u200bmb", Defences(), ["a bomb"]),
        ("a\u200b bo\u200bmb", Defences.off(), []),
        (f"Read: {encoded('first you take the bomb')}", Defences(), ["Read: first you take the bomb"]),
        ("x" * 200, Defences(window=200), []),  # not longer than a window
    ],
)
def test_the_forms_of_an_answer(text, defences, forms):
    assert texts_of(text, defences) == forms


def test_windows_cover_a_reply_and_its_other_forms():
    words = [f"word{number}" for number in range(100)]
    found = texts_of(" ".join(words).replace("word50", "wo\u200brd50"), Defences(window=200))
    assert set(words) <= set(" ".join(found).split())
    assert all(len(text) <= 200 for text in found[1:])
    assert any("word50" in text for text in found[1:])  # in a window of the form without hidden characters


def test_only_the_last_message_changes():
    prompt = [{"role": "system", "content": "Be\u200b brief."}, {"role": "user", "content": "Ho\u200bw?"}]
    rollout = Rollout.from_trl(prompt, [{"role": "assistant", "content": "a bo\u200bmb"}])
    [form] = forms_of(rollout.answer_conversation(), Defences())
    assert list(form.conversation[:-1]) == list(rollout.answer_conversation()[:-1])
    assert form.conversation[-1] == {"role": "assistant", "content": "a bomb"}


@pytest.mark.parametrize(
    "text",
    [
        "word " * 1600,
        "wo\u200brd \u0430 " * 1000,
        " ".join(encoded(f"a secret of {number} words, and more of it") for number in range(140)),
        encoded(encoded(encoded("a bomb " * 400))),
        codecs.encode("how to make a bomb at home " * 300, "rot13"),
        "\ufdfa" * 8000,
    ],
)
def test_a_hostile_reply_cannot_make_the_guard_slow(text):
    forms = Forms.of(Rollout.from_trl("How?", text).answer_conversation(), None, Defences.strict())
    assert len(forms.answer) <= MOST_FORMS
    assert len({form.conversation[-1]["content"] for form in forms.answer}) == len(forms.answer)


def test_a_longer_reply_has_larger_windows_and_none_of_it_is_left_out():
    words = [f"word{number}" for number in range(3000)]
    forms = Forms.of(Rollout.from_trl("How?", " ".join(words)).answer_conversation(), None, Defences(window=200))
    assert len(forms.answer) <= MOST_WINDOWS
    assert set(words) == set(chain.from_iterable(f.conversation[-1]["content"].split() for f in forms.answer))
    assert forms.left_out == 0


@pytest.mark.parametrize(
    ("said", "of_form", "merged"),
    [
        (SAFE, SAFE, "Safe"),
        (SAFE, UNSAFE, "Unsafe"),
        (UNSAFE, SAFE, "Unsafe"),
        (SAFE, EDGY, "Controversial"),
        (SAFE, LOST, "Safe"),  # the row is not lost
        (EDGY, LOST, "Controversial"),  # nor is it safe
        (LOST, SAFE, None),
        (LOST, EDGY, None),
        (LOST, UNSAFE, "Unsafe"),  # decides alone
        (LOST, LOST, None),
    ],
)
def test_the_worst_verdict_counts(said, of_form, merged):
    verdict, counted = merge_forms(said, [FORM], [of_form])
    assert (str(verdict.severity) if isinstance(verdict, Verdict) else None) == merged
    assert len(counted) == isinstance(of_form, Verdict)


def test_a_window_does_not_say_whether_the_reply_refuses():
    helps, begins = Verdict(Severity.SAFE, refusal=False), Verdict(Severity.SAFE, refusal=True)
    assert merge_forms(helps, [WINDOW], [begins])[0].refusal is False
    assert merge_forms(helps, [FORM], [begins])[0].refusal is True


def test_a_form_in_several_windows_does_not_make_the_reply_too_long():
    assert merge_forms(SAFE, [FORM], [Verdict(Severity.SAFE, windows=3)])[0].windows == 1


def test_a_form_without_the_probabilities_that_the_reply_has_does_not_count():
    certain = Verdict(Severity.SAFE, probabilities=(0.9, 0.06, 0.04))
    assert merge_forms(certain, [FORM], [UNSAFE]) == (certain, [])
