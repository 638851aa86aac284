"""The verdict format as a state machine: which tree of answers is drafted from where, and how it finds back."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guard_reward.scoring import VerdictGrammar
from guard_reward.scoring.grammar import MOST_GUESSES, OFF_GRAMMAR, ROOT, Draft
from guard_reward.verdict import Category, Severity

LONGEST = 64  # more than any branch has


def walk(grammar, tokens):
    state = grammar.start
    for token in tokens:
        state = grammar.step(state, token)
    return state


def branch(draft, place):
    """The guessed tokens from the known ones up to and with the guess at `place`."""
    tokens = []
    while place != ROOT:
        tokens.append(draft.tokens[place])
        place = draft.parents[place]
    return tokens[::-1]


def branches(draft, decode):
    """The whole branches of a draft as texts, in the order in which they are guessed."""
    return [decode(branch(draft, place)) for place in range(len(draft)) if not draft.following[place + 1]]


def beginnings(draft):
    """All beginnings of all branches."""
    return {tuple(branch(draft, place)) for place in range(len(draft))}


def passes(grammar, answer):
    """How many forward passes an answer takes: in each, the right guesses and one token more."""
    state, known, count = grammar.start, 0, 0
    while True:
        draft, place = grammar.draft(state, LONGEST), ROOT
        count += 1
        while place is not None:
            if known == len(answer):
                return count  # here the end token is seen
            state = grammar.step(state, answer[known])
            place = draft.following[place + 1].get(answer[known])
            known += 1


@pytest.mark.parametrize(
    ("before", "rest"),
    [
        (  # a whole safe answer with either refusal word; the others up to where the category is decided
            "",
            [
                "Safety: Safe\nCategories: None\nRefusal: No",
                "Safety: Safe\nCategories: None\nRefusal: Yes",
                "Safety: Unsafe\nCategories:",
                "Safety: Controversial\nCategories:",
            ],
        ),
        (  # severity to come
            "Safety:",
            [
                " Safe\nCategories: None\nRefusal: No",
                " Safe\nCategories: None\nRefusal: Yes",
                " Unsafe\nCategories:",
                " Controversial\nCategories:",
            ],
        ),
        ("Safety: Safe", ["\nCategories: None\nRefusal: No", "\nCategories: None\nRefusal: Yes"]),  # severity decided
        ("Safety: Unsafe", ["\nCategories:"]),  # the other way
        ("Safety: Cont", ["roversial\nCategories:"]),  # inside a label
        ("Safety: Safe\nCategories:", [" None\nRefusal: No", " None\nRefusal: Yes"]),  # Safe has no category
        ("Safety: Unsafe\nCategories:", []),  # one of nine: the logits tell which
        ("Safety: Unsafe\nCategories: None", ["\nRefusal: No", "\nRefusal: Yes"]),  # none after all, so no comma
        ("Safety: Unsafe\nCategories: V", ["iolent\nRefusal: No", "iolent\nRefusal: Yes", "iolent,"]),  # its name
        ("Safety: Unsafe\nCategories: PII", ["\nRefusal: No", "\nRefusal: Yes", ","]),  # a name of one token
        (  # two names begin alike: the first one
            "Safety: Controversial\nCategories: S",
            [f"exual Content or Sexual Acts{end}" for end in ("\nRefusal: No", "\nRefusal: Yes", ",")],
        ),
        ("Safety: Unsafe\nCategories: Violent,", []),  # a further category, one of nine
        ("Safety: Unsafe\nCategories: PII, V", ["iolent\nRefusal: No", "iolent\nRefusal: Yes", "iolent,"]),  # a second
        ("Safety: Safe\nCategories: PII", ["\nRefusal: No", "\nRefusal: Yes", ","]),  # not as Safe usually goes on
        ("Safety: Safe\nCategories: None\n", ["Refusal: No", "Refusal: Yes"]),  # inside the line break
        ("Safety: Safe\nCategories: None\nRefusal:", [" No", " Yes"]),  # refusal to come
        ("Safety: Safe\nCategories: None\nRefusal: No", []),  # complete
        ("Safety: Safe\nCategories: None\nRefusal: Yes", []),  # complete otherwise
        ("?", []),  # off the grammar
        ("Safety:?", []),  # unknown severity
        ("Safety: Unsafe\nCategories:?", []),  # unknown category
        ("Safety: Unsafe\nCategories:?, V", ["iolent\nRefusal: No", "iolent\nRefusal: Yes", "iolent,"]),  # comma: back
        ("Safety: Unsafe\nCategories:?\n", ["Refusal: No", "Refusal: Yes"]),  # its line break leads back too
        ("Safety: Unsafe\nCategories: PII, Violent??\n", ["Refusal: No", "Refusal: Yes"]),  # a longer name
    ],
)
def test_drafts_of_a_response(toy, before, rest):
    draft = toy.response.draft(walk(toy.response, toy.encode(before)), LONGEST)
    assert sorted(branches(draft, toy.decode)) == sorted(rest)


@pytest.mark.parametrize(
    ("before", "rest"),
    [
        (  # no refusal line
            "",
            ["Safety: Safe\nCategories: None", "Safety: Unsafe\nCategories:", "Safety: Controversial\nCategories:"],
        ),
        ("Safety: Safe", ["\nCategories: None"]),  # severity decided
        ("Safety: Unsafe", ["\nCategories:"]),  # the other way
        ("Safety: Unsafe\nCategories:", []),  # one of nine
        ("Safety: Unsafe\nCategories: V", ["iolent,"]),  # its name; it may end there
        ("Safety: Unsafe\nCategories: PII", [","]),  # or go on
        ("Safety: Unsafe\nCategories: PII,", []),  # with one of nine
        ("Safety: Safe\nCategories: None", []),  # complete
        ("Safety: Unsafe\nCategories:?", []),  # unknown category
        ("Safety: Unsafe\nCategories:?, V", ["iolent,"]),  # its comma leads back
        ("Safety: Unsafe\nCategories:?\n", []),  # a line break leads nowhere
        ("Safety: Unsafe\nCategories: PII\nRefusal:", []),  # a line that prompts do not have
    ],
)
def test_drafts_of_a_prompt(toy, before, rest):
    draft = toy.prompt.draft(walk(toy.prompt, toy.encode(before)), LONGEST)
    assert sorted(branches(draft, toy.decode)) == sorted(rest)


def test_what_branches_share_is_guessed_once(toy):
    """From the start 21 tokens, not the 35 of the four branches."""
    draft = toy.response.draft(toy.response.start, LONGEST)
    assert len(draft) == len(beginnings(draft)) == 21
    assert sum(len(toy.encode(text)) for text in branches(draft, toy.decode)) == 35


def test_the_states_that_decide(toy):
    assert walk(toy.response, toy.encode("Safety:")) == toy.response.severity_state
    assert walk(toy.response, toy.encode("Safety: Unsafe\nCategories: PII\nRefusal:")) == toy.response.refusal_state
    assert walk(toy.response, toy.encode("Safety:?\nRefusal:")) == toy.response.refusal_state
    assert walk(toy.response, toy.encode("?")) == OFF_GRAMMAR


def test_the_states_that_decide_stand_in_the_draft(toy):
    """Behind which guesses the probabilities are read: the severity's one place, the refusal's one place."""
    draft = toy.response.draft(toy.response.start, LONGEST)
    for state, before in (
        (toy.response.severity_state, "Safety:"),
        (toy.response.refusal_state, "Safety: Safe\nCategories: None\nRefusal:"),
    ):
        [place] = [place for place, found in enumerate(draft.states) if found == state]
        assert toy.decode(branch(draft, place)) == before


def test_a_tree_built_by_hand():
    draft = Draft()
    assert len(draft) == 0
    assert draft.following == [{}]
    assert draft.add(7, ROOT, 1) == 0
    assert draft.add(8, 0, 2) == 1
    assert draft.add(9, 0, 3) == 2
    assert draft.add(8, ROOT, 4) == 3
    assert draft.add(7, 2, 5) == 4
    assert draft.tokens == [7, 8, 9, 8, 7]
    assert draft.parents == [ROOT, 0, 0, ROOT, 2]
    assert draft.states == [1, 2, 3, 4, 5]
    assert draft.depths == [0, 1, 1, 0, 2]
    assert draft.following == [{7: 0, 8: 3}, {8: 1, 9: 2}, {}, {7: 4}, {}, {}]


VERDICTS = st.builds(
    lambda severity, categories, refusal: (
        f"Safety: {severity}\nCategories: {', '.join(categories) or 'None'}" + (f"\nRefusal: {refusal}" * bool(refusal))
    ),
    severity=st.sampled_from(Severity),
    categories=st.lists(st.sampled_from([*Category]), unique=True, max_size=4),
    refusal=st.sampled_from([None, "Yes", "No"]),
)


@settings(deadline=None)
@given(data=st.data(), verdict=VERDICTS, with_refusal=st.booleans(), longest=st.integers(-1, LONGEST))
def test_any_draft_is_a_tree_of_walks_through_the_grammar(toy, data, verdict, with_refusal, longest):
    """Drafted from anywhere: inside verdicts, and where a random answer has led."""
    grammar = toy.response if with_refusal else toy.prompt
    tokens = toy.encode(verdict)
    tokens = tokens[: data.draw(st.integers(0, len(tokens)))]
    tokens += data.draw(st.lists(st.integers(0, toy.vocabulary - 1), max_size=3))
    state = walk(grammar, tokens)
    draft = grammar.draft(state, longest)
    assert len(draft) == len(draft.tokens) == len(draft.parents) == len(draft.states) == len(draft.depths)
    assert len(draft.following) == len(draft) + 1
    for place, (token, parent) in enumerate(zip(draft.tokens, draft.parents, strict=True)):
        assert ROOT <= parent < place  # parents before children
        assert draft.states[place] == grammar.step(state if parent == ROOT else draft.states[parent], token)
        assert draft.states[place] != OFF_GRAMMAR
        assert draft.depths[place] == len(branch(draft, place)) - 1 < longest
    following = {
        (behind - 1, token): place for behind, next_ in enumerate(draft.following) for token, place in next_.items()
    }
    assert following == {key: place for place, key in enumerate(zip(draft.parents, draft.tokens, strict=True))}


@pytest.mark.parametrize("before", ["", "Safety:", "Safety: Unsafe\nCategories: V", "Safety: Safe\nCategories: None"])
def test_the_longest_branch_allowed_cuts_the_tree_at_every_depth(toy, before):
    """So many levels of the whole tree, not a token more and not one less."""
    state = walk(toy.response, toy.encode(before))
    whole = toy.response.draft(state, LONGEST)
    for longest in range(max(whole.depths) + 3):
        expected = {beginning for beginning in beginnings(whole) if len(beginning) <= longest}
        assert beginnings(toy.response.draft(state, longest)) == expected, longest
    assert len(toy.response.draft(state, 0)) == len(toy.response.draft(state, -1)) == 0
    assert beginnings(whole) == expected


def test_the_same_draft_is_made_once(toy):
    """Rows with the same draft are recognised by it when they are put into one attention call."""
    assert toy.response.draft(0, 20) is toy.response.draft(0, 20)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Safety: Safe\nCategories: None\nRefusal: No", 1),  # the likeliest verdict
        ("Safety: Safe\nCategories: None\nRefusal: Yes", 1),  # the other refusal word
        ("Safety: Safe\nCategories: PII\nRefusal: Yes", 2),  # a category that Safe should not have
        ("Safety: Unsafe\nCategories: None\nRefusal: No", 2),  # no category where there should be one
        ("Safety: Unsafe\nCategories: Violent\nRefusal: No", 2),  # one category
        ("Safety: Controversial\nCategories: Non-violent Illegal Acts\nRefusal: Yes", 2),  # of several tokens
        ("Safety: Unsafe\nCategories: PII, Jailbreak\nRefusal: No", 3),  # two categories
        ("Safety: Unsafe\nCategories: PII, Jailbreak, Violent\nRefusal: No", 4),  # three
        ("Safety: Unsafe\nCategories: Suicide & Self-Harm\nRefusal: No", 3),  # begins like another one
        ("Safety: Unsafe\nCategories:?, PII\nRefusal: No", 4),  # an unknown one, and back
        ("Safety: Unsafe\nCategories:?\nRefusal: No", 3),  # an unknown one, and back by the line break
        ("Safety: Safe", 1),  # ends too early
        ("", 1),  # ends at once
        ("???", 4),  # never in the grammar
    ],
)
def test_a_pass_for_every_choice_that_cannot_be_foreseen(toy, answer, expected):
    assert passes(toy.response, toy.encode(answer)) == expected


@pytest.fixture(scope="module")
def real(qwen_tokenizer):
    """Both grammars with Qwen3's vocabulary."""

    def encode(text):
        return qwen_tokenizer.encode(text, add_special_tokens=False)

    return {with_refusal: VerdictGrammar(encode, with_refusal=with_refusal) for with_refusal in (True, False)}


def test_the_real_vocabulary(real, qwen_tokenizer):
    watched = dict(zip(("Safe", "Controversial", "Unsafe", "Yes", "No"), real[True].watched, strict=True))
    assert watched == {"Safe": 22291, "Controversial": 2093, "Unsafe": 73067, "Yes": 7414, "No": 2308}
    draft = real[True].draft(real[True].start, LONGEST)
    assert (len(draft), max(draft.depths) + 1) == (23, 12)
    assert sorted(branches(draft, qwen_tokenizer.decode)) == [
        "Safety: Controversial\nCategories:",
        "Safety: Safe\nCategories: None\nRefusal: No",
        "Safety: Safe\nCategories: None\nRefusal: Yes",
        "Safety: Unsafe\nCategories:",
    ]
    assert sorted(branches(real[False].draft(real[False].start, LONGEST), qwen_tokenizer.decode)) == [
        "Safety: Controversial\nCategories:",
        "Safety: Safe\nCategories: None",
        "Safety: Unsafe\nCategories:",
    ]


@settings(deadline=None)
@given(
    severity=st.sampled_from(Severity),
    categories=st.lists(st.sampled_from(Category), unique=True),
    refusal=st.sampled_from([None, "Yes", "No"]),
)
def test_every_verdict_is_in_the_grammar_as_the_tokenizer_writes_it(
    real, qwen_tokenizer, severity, categories, refusal
):
    """The pieces join to the tokens of the whole: otherwise drafts would be rejected for their spelling.

    So a safe verdict costs one pass, one category two, each further category one more.
    """
    grammar = real[refusal is not None]
    text = f"Safety: {severity}\nCategories: {', '.join(categories) or 'None'}"
    text += "" if refusal is None else f"\nRefusal: {refusal}"
    tokens = qwen_tokenizer.encode(text, add_special_tokens=False)
    state = walk(grammar, tokens)
    assert state != OFF_GRAMMAR
    complete = refusal is not None or not categories
    assert branches(grammar.draft(state, LONGEST), qwen_tokenizer.decode) == ([] if complete else [","])
    assert passes(grammar, tokens) == 1 + max(len(categories), severity != Severity.SAFE)


@pytest.mark.parametrize(
    "labels", [(" Safe", " Unsafe"), (" Safe", " Controversial"), (" Yes", " No")], ids=lambda labels: "=".join(labels)
)
def test_labels_that_begin_alike_are_refused(toy, labels):
    def encode(text):
        return [99, *toy.encode(text)] if text in labels else toy.encode(text)

    with pytest.raises(ValueError, match="with the same token"):
        VerdictGrammar(encode, with_refusal=True)


def test_a_severity_and_a_refusal_may_begin_alike(toy):
    """They are decided at different places."""

    def encode(text):
        return toy.encode(" Safe") if text == " No" else toy.encode(text)

    grammar = VerdictGrammar(encode, with_refusal=True)
    assert grammar.watched[0] == grammar.watched[4]


def test_a_vocabulary_in_which_words_collide_still_ends_its_drafts(toy):
    """Edges in a circle."""
    colliding = VerdictGrammar(
        lambda text: [(token * 7 + 3) % toy.vocabulary for token in toy.encode(text)], with_refusal=True
    )
    for longest in (1, 16, LONGEST):
        draft = colliding.draft(colliding.start, longest)
        assert len(draft) < 50
        assert max(draft.depths) < longest


def test_a_vocabulary_without_the_categories_still_ends_its_drafts():
    """One <unk> for every word of the categories but "Acts", "Content" and "or": many circles through one state."""
    words = ["Safety", "Categories", "Refusal", ":", "\n", ",", " Safe", " Unsafe", " Controversial", " None", " Yes"]
    words += [" No", " Acts", " Content", " or"]

    def encode(text):
        found = re.findall(r"\n|:|,| ?[^\s:,]+", text)
        return [words.index(word) if word in words else len(words) for word in found]

    grammar = VerdictGrammar(encode, with_refusal=True)
    state = walk(grammar, encode("Safety: Unsafe\nCategories: Violent"))
    assert len(grammar.draft(state, 64)) == MOST_GUESSES
