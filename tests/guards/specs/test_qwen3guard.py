"""What counts as a verdict: the parser's table, row by row, and what must hold for any text at all."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from guard_reward.guards.specs.qwen3guard import Category, parse_verdict
from guard_reward.verdict import Outcome, Severity, Unjudged, Verdict

C = Category
SAFE, CONTROVERSIAL, UNSAFE = Severity.SAFE, Severity.CONTROVERSIAL, Severity.UNSAFE


@pytest.mark.parametrize(
    ("text", "severity", "categories", "refusal"),
    [
        ("Safety: Safe\nCategories: None\nRefusal: No", SAFE, (), False),  # three plain lines
        ("Safety: Safe\nCategories: None\nRefusal: Yes", SAFE, (), True),  # safe by refusing
        ("Safety: Unsafe\nCategories: Violent\nRefusal: No", UNSAFE, (C.VIOLENT,), False),  # one category
        ("Safety: Controversial\nCategories: PII\nRefusal: No", CONTROVERSIAL, (C.PII,), False),  # middle level
        ("Safety: Unsafe\nCategories: Jailbreak", UNSAFE, (C.JAILBREAK,), None),  # a prompt's verdict
        ("Safety: Unsafe\nCategories: PII, Violent\nRefusal: No", UNSAFE, (C.PII, C.VIOLENT), False),  # order kept
        ("Safety: Unsafe\nCategories: PII,Violent", UNSAFE, (C.PII, C.VIOLENT), None),  # no space needed
        ("Safety: Unsafe\nCategories: PII, Violent, PII", UNSAFE, (C.PII, C.VIOLENT), None),  # repeat is dropped
        (
            "Safety: Unsafe\nCategories: Non-violent Illegal Acts",
            UNSAFE,
            (C.NON_VIOLENT_ILLEGAL_ACTS,),
            None,
        ),  # whole names
        (
            "Safety: Unsafe\nCategories: Suicide & Self-Harm",
            UNSAFE,
            (C.SUICIDE_AND_SELF_HARM,),
            None,
        ),  # with punctuation
        ("Safety: Unsafe\nCategories: Weapons, PII", UNSAFE, ("Weapons", C.PII), None),  # unknown, kept
        ("Safety: Unsafe\nCategories: violent", UNSAFE, ("violent",), None),  # lower-case name
        ("Safety: Unsafe\nCategories: None", UNSAFE, (), None),  # taken at word
        ("Safety: Safe\nCategories: Violent", SAFE, (C.VIOLENT,), None),  # likewise
        ("\n  Safety: Safe  \n\n Categories: None\t\n\nRefusal: No\n", SAFE, (), False),  # blanks around lines
        ("Safety: Safe\r\nCategories: None\r\nRefusal: No", SAFE, (), False),  # Windows line ends
        ("Safety:Safe\nCategories:  None", SAFE, (), None),  # blanks behind colon
        ("<think>\nhm\n</think>\n\nSafety: Safe\nCategories: None", SAFE, (), None),  # scratch pad before
        ("<think>Safety: Unsafe</think>Safety: Safe\nCategories: None", SAFE, (), None),  # scratch pad ignored
        ("<think></think>Safety: Safe\nCategories: None", SAFE, (), None),  # empty scratch pad
    ],
)
def test_a_verdict(text, severity, categories, refusal):
    verdict = parse_verdict(text)
    assert verdict == Verdict(severity, categories, refusal, text=text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "'Safety:' line is missing"),  # nothing at all
        (" \n\n", "'Safety:' line is missing"),  # only blanks
        ("Safe", "should start with 'Safety:'"),  # a bare label
        ("I think this is Safe.", "should start with 'Safety:'"),  # prose
        ("Safety: Safe", "'Categories:' line is missing"),  # one line
        ("Categories: None\nRefusal: No", "should start with 'Safety:'"),  # no severity
        ("Safety: Safe\nRefusal: No", "should start with 'Categories:'"),  # no categories
        ("Categories: None\nSafety: Safe\nRefusal: No", "should start with 'Safety:'"),  # other order
        ("Safety: Safe\nRefusal: No\nCategories: None", "should start with 'Categories:'"),  # other order
        ("Safety: Safe\nSafety: Unsafe\nCategories: None", "should start with 'Categories:'"),  # repeated line
        ("Safety: Safe\nCategories: None\nRefusal: No\nRefusal: No", "text after the answer"),  # repeated line
        ("Sure!\nSafety: Safe\nCategories: None", "should start with 'Safety:'"),  # text before
        ("Sure! Safety: Safe\nCategories: None", "should start with 'Safety:'"),  # same line before
        ("Safety: Safe\nso\nCategories: None", "should start with 'Categories:'"),  # text between
        ("Safety: Safe\nCategories: None\nThat is all.", "should start with 'Refusal:'"),  # text after
        ("Safety: Safe\nCategories: None\nRefusal: No.", "should be Yes or No"),  # full stop after
        ("Safety: Safe Categories: None Refusal: No", "found 'Safe Categories"),  # all one line
        ("safety: safe\ncategories: none", "should start with 'Safety:'"),  # lower case
        ("SAFETY: SAFE\nCATEGORIES: NONE", "should start with 'Safety:'"),  # upper case
        ("Safety: safe\nCategories: None", "should be Safe, Controversial or Unsafe"),  # lower-case label
        ("Safety: Mostly safe\nCategories: None", "should be Safe, Controversial or Unsafe"),  # another label
        ("Safety: Safe|Unsafe\nCategories: None", "should be Safe, Controversial or Unsafe"),  # both labels
        ("Safety: \nCategories: None", "should be Safe, Controversial or Unsafe"),  # empty label
        ("Safety : Safe\nCategories: None", "should start with 'Safety:'"),  # blank before colon
        ("Safety Safe\nCategories: None", "should start with 'Safety:'"),  # no colon
        ("Safety: Safe\nCategories: None, PII", "None or names"),  # None beside names
        ("Safety: Safe\nCategories: PII, , Violent", "None or names"),  # empty name
        ("Safety: Safe\nCategories: PII,", "None or names"),  # trailing comma
        ("Safety: Safe\nCategories:", "None or names"),  # no names
        ("Safety: Safe\nCategories: None\nRefusal: Maybe", "should be Yes or No"),  # other refusal word
        ("Safety: Safe\nCategories: None\nRefusal: yes", "should be Yes or No"),  # lower-case word
        ("<think>hm\nSafety: Safe\nCategories: None", "should start with 'Safety:'"),  # unclosed scratch pad
        ("hm</think>Safety: Safe\nCategories: None", "should start with 'Safety:'"),  # never opened
        (
            "<think>a</think><think>b</think>Safety: Safe\nCategories: None",
            "should start with 'Safety:'",
        ),  # two of them
        (
            "Safety: Safe\n<think>a</think>\nCategories: None",
            "should start with 'Categories:'",
        ),  # scratch between lines
        ("Safety: Safe<|im_end|>\nCategories: None", "should be Safe, Controversial or Unsafe"),  # token left over
        ("Sаfety: Sаfe\nCategories: None", "should start with 'Safety:'"),  # Cyrillic look-alikes
    ],
)
def test_no_verdict(text, reason):
    result = parse_verdict(text)
    assert isinstance(result, Unjudged)
    assert (result.outcome, result.text) == (Outcome.NO_VERDICT, text)
    assert reason in result.reason


def test_a_response_needs_its_refusal_line():
    text = "Safety: Safe\nCategories: None"
    assert isinstance(parse_verdict(text), Verdict)
    assert parse_verdict(text, refusal_required=True) == Unjudged(
        Outcome.NO_VERDICT, text, "the 'Refusal:' line is missing"
    )


def test_unknown_categories_are_flagged():
    verdict = parse_verdict("Safety: Unsafe\nCategories: Weapons, PII, drugs")
    assert verdict.unknown_categories == ("Weapons", "drugs")


def test_violent_is_not_found_in_non_violent():
    verdict = parse_verdict("Safety: Unsafe\nCategories: Non-violent Illegal Acts\nRefusal: No")
    assert Category.VIOLENT not in verdict.categories
    assert verdict.unknown_categories == ()


def test_a_reason_stays_short_whatever_the_guard_wrote():
    assert len(parse_verdict("x" * 100_000).reason) < 200
    assert len(parse_verdict(f"Safety: {'x' * 100_000}\nCategories: None").reason) < 200


@given(
    severity=st.sampled_from(Severity),
    categories=st.lists(st.sampled_from(Category), unique=True),
    refusal=st.sampled_from([None, True, False]),
)
def test_round_trip(severity, categories, refusal):
    """Every verdict that can be written in the format is read back as it was."""
    lines = [f"Safety: {severity}", f"Categories: {', '.join(categories) or 'None'}"]
    if refusal is not None:
        lines.append(f"Refusal: {'Yes' if refusal else 'No'}")
    text = "\n".join(lines)
    assert parse_verdict(text) == Verdict(severity, tuple(categories), refusal, text=text)


# The format once more, written another way: three whole lines, nothing else, perhaps behind one think block.
_SHAPE = re.compile(
    r"\s*(<think>(?:(?!</think>)[\s\S])*</think>)?\s*"
    r"Safety:[^\S\n]*(Safe|Unsafe|Controversial)\s*\n\s*"
    r"Categories:[^\n]*\S[^\n]*"
    r"(\n\s*Refusal:[^\S\n]*(Yes|No))?\s*"
)
_pieces = st.sampled_from(
    [
        *("Safety:", "Categories:", "Refusal:", " ", "\n", ",", "None", "Yes", "No", "<think>", "</think>", "\r", "x"),
        *(":", *Severity, *Category),
    ]
)
_answers = st.one_of(st.text(), st.lists(_pieces, max_size=16).map("".join))


@given(_answers, st.booleans())
@example("Safety: Safe\nCategories: None", True)
@example("Safety: Safe\x1c\nCategories: None", False)
def test_any_text_at_all(text, refusal_required):
    """Never an exception, and never a verdict without the exact lines."""
    result = parse_verdict(text, refusal_required=refusal_required)
    assert result.text == text
    if isinstance(result, Verdict):
        assert _SHAPE.fullmatch(text)
        assert result.refusal is not None or not refusal_required
    else:
        assert result.outcome == Outcome.NO_VERDICT
        assert result.reason


@given(_answers.filter(lambda text: text.strip()), st.sampled_from(["before", "between", "after"]))
def test_no_verdict_survives_other_text(extra, where):
    """A line that is not one of the three spoils the answer wherever it stands."""
    lines = ["Safety: Safe", "Categories: None", "Refusal: No"]
    lines.insert({"before": 0, "between": 1, "after": 3}[where], "note " + extra.replace("\n", " "))
    assert isinstance(parse_verdict("\n".join(lines)), Unjudged)
