"""The verdict format as a state machine: what is drafted from where, and how it finds back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard_reward.scoring import VerdictGrammar
from guard_reward.scoring.grammar import OFF_GRAMMAR
from guard_reward.verdict import Category, Severity


def walk(grammar, tokens):
    state = grammar.start
    for token in tokens:
        state = grammar.step(state, token)
    return state


@pytest.mark.parametrize(
    ("before", "rest"),
    [
        ("", "Safety: Safe\nCategories: None\nRefusal: No"),  # the likeliest verdict
        ("Safety:", " Safe\nCategories: None\nRefusal: No"),  # severity to come
        ("Safety: Unsafe", "\nCategories: None\nRefusal: No"),  # another severity
        ("Safety: Cont", "roversial\nCategories: None\nRefusal: No"),  # inside a label
        ("Safety: Unsafe\nCategories: Violent", "\nRefusal: No"),  # behind a category
        ("Safety: Unsafe\nCategories: Violent,", " None\nRefusal: No"),  # a further category
        ("Safety: Unsafe\nCategories: Violent, PII", "\nRefusal: No"),  # behind a second
        ("Safety: Safe\nCategories: None\nRefusal:", " No"),  # refusal to come
        ("Safety: Safe\nCategories: None\nRefusal: No", ""),  # complete
        ("Safety: Safe\nCategories: None\nRefusal: Yes", ""),  # complete otherwise
        ("?", ""),  # off the grammar
        ("Safety:?", ""),  # unknown severity
        ("Safety: Unsafe\nCategories:?", ""),  # unknown category
        ("Safety: Unsafe\nCategories:?,", " None\nRefusal: No"),  # its comma leads back
        ("Safety: Unsafe\nCategories:?\n", "Refusal: No"),  # its line break too
        ("Safety: Unsafe\nCategories: PII, Violent??\n", "Refusal: No"),  # a longer name
    ],
)
def test_drafts_of_a_response(toy, before, rest):
    assert toy.decode(toy.response.draft(walk(toy.response, toy.encode(before)))) == rest


@pytest.mark.parametrize(
    ("before", "rest"),
    [
        ("", "Safety: Safe\nCategories: None"),  # no refusal line
        ("Safety: Unsafe", "\nCategories: None"),  # another severity
        ("Safety: Unsafe\nCategories: PII", ""),  # may end here
        ("Safety: Unsafe\nCategories: PII,", " None"),  # or go on
        ("Safety: Unsafe\nCategories:?", ""),  # unknown category
        ("Safety: Unsafe\nCategories:?,", " None"),  # its comma leads back
    ],
)
def test_drafts_of_a_prompt(toy, before, rest):
    assert toy.decode(toy.prompt.draft(walk(toy.prompt, toy.encode(before)))) == rest


def test_the_states_that_decide(toy):
    assert walk(toy.response, toy.encode("Safety:")) == toy.response.severity_state
    assert walk(toy.response, toy.encode("Safety: Unsafe\nCategories: PII\nRefusal:")) == toy.response.refusal_state
    assert walk(toy.response, toy.encode("Safety:?\nRefusal:")) == toy.response.refusal_state
    assert walk(toy.response, toy.encode("?")) == OFF_GRAMMAR


@pytest.fixture(scope="module")
def real(qwen_tokenizer):
    """Both grammars with Qwen3's vocabulary."""

    def encode(text):
        return qwen_tokenizer.encode(text, add_special_tokens=False)

    return {with_refusal: VerdictGrammar(encode, with_refusal=with_refusal) for with_refusal in (True, False)}


def test_the_real_vocabulary(real, qwen_tokenizer):
    watched = dict(zip(("Safe", "Controversial", "Unsafe", "Yes", "No"), real[True].watched, strict=True))
    assert watched == {"Safe": 22291, "Controversial": 2093, "Unsafe": 73067, "Yes": 7414, "No": 2308}
    draft = real[True].draft(real[True].start)
    assert len(draft) == 12
    assert qwen_tokenizer.decode(draft) == "Safety: Safe\nCategories: None\nRefusal: No"
    assert qwen_tokenizer.decode(real[False].draft(real[False].start)) == "Safety: Safe\nCategories: None"


@given(
    severity=st.sampled_from(Severity),
    categories=st.lists(st.sampled_from(Category), unique=True),
    refusal=st.sampled_from([None, "Yes", "No"]),
)
def test_every_verdict_is_in_the_grammar_as_the_tokenizer_writes_it(
    real, qwen_tokenizer, severity, categories, refusal
):
    """The pieces join to the tokens of the whole: otherwise drafts would be rejected for their spelling."""
    grammar = real[refusal is not None]
    text = f"Safety: {severity}\nCategories: {', '.join(categories) or 'None'}"
    text += "" if refusal is None else f"\nRefusal: {refusal}"
    state = walk(grammar, qwen_tokenizer.encode(text, add_special_tokens=False))
    assert state != OFF_GRAMMAR
    assert grammar.draft(state) == []


@pytest.mark.parametrize(
    "labels", [(" Safe", " Unsafe"), (" Safe", " Controversial"), (" Yes", " No")], ids=lambda labels: "=".join(labels)
)
def test_labels_that_begin_alike_are_refused(toy, labels):
    def encode(text):
        return [99, *toy.encode(text)] if text in labels else toy.encode(text)

    with pytest.raises(ValueError, match="with the same token"):
        VerdictGrammar(encode, with_refusal=True)


def test_a_vocabulary_in_which_labels_collide_still_ends_its_drafts(toy):
    """An <unk> for everything but the labels: edges in a circle."""
    unknown = VerdictGrammar(
        lambda text: [(token * 7 + 3) % toy.vocabulary for token in toy.encode(text)], with_refusal=True
    )
    assert len(unknown.draft(unknown.start)) < 50
