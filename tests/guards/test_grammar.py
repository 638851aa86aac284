"""The verdict format as a state machine: which tree of answers is drafted from where, and how it finds back."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guard_reward import Category, Severity
from guard_reward.guards.answer import AnswerFormat, Labels, Names
from guard_reward.guards.grammar import MAX_DRAFT_TOKENS, OFF_GRAMMAR, AnswerGrammar
from guard_reward.guards.specs.qwen3guard import QWEN3GUARD
from guard_reward.scoring.draft import ROOT
from tests.guards import words

LONGEST = 64  # more than any branch has


def walk(grammar, tokens):
    state = grammar.start
    for token in tokens:
        state = grammar.step(state, token)
    return state


def branch(draft, node):
    """The guessed tokens from the known ones up to and with `node`."""
    tokens = []
    while node != ROOT:
        tokens.append(draft.tokens[node - 1])
        node = draft.parents[node]
    return tokens[::-1]


def branches(draft, decode):
    """The whole branches of a draft as texts, in the order in which they are guessed."""
    return [decode(branch(draft, node)) for node in range(1, len(draft) + 1) if not draft.children[node]]


def beginnings(draft):
    """All beginnings of all branches."""
    return {tuple(branch(draft, node)) for node in range(1, len(draft) + 1)}


def passes(grammar, answer):
    """How many forward passes an answer takes: in each, the right guesses and one token more."""
    state, known, count = grammar.start, 0, 0
    while True:
        draft, node = grammar.draft(state, LONGEST), ROOT
        count += 1
        while node is not None:
            if known == len(answer):
                return count  # here the end token is seen
            state = grammar.step(state, answer[known])
            node = draft.children[node].get(answer[known])
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


def decision(grammar, state):
    found = grammar.decision(state)
    return None if found is None else found.name


def test_the_states_that_decide(toy):
    for before, name in (
        ("Safety:", "severity"),
        ("Safety: Unsafe\nCategories: PII\nRefusal:", "refusal"),
        ("Safety:?\nRefusal:", "refusal"),
        ("Safety: Safe", None),
    ):
        assert decision(toy.response, walk(toy.response, toy.encode(before))) == name, before
    assert walk(toy.response, toy.encode("?")) == OFF_GRAMMAR
    assert decision(toy.response, OFF_GRAMMAR) is None


def test_the_states_that_decide_stand_in_the_draft(toy):
    """Behind which guesses the probabilities are read: the severity's one place, the refusal's one place."""
    draft = toy.response.draft(toy.response.start, LONGEST)
    for name, before in (("severity", "Safety:"), ("refusal", "Safety: Safe\nCategories: None\nRefusal:")):
        [node] = [node for node, state in enumerate(draft.states) if decision(toy.response, state) == name]
        assert toy.decode(branch(draft, node)) == before


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
    assert len(draft) + 1 == len(draft.tokens) + 1 == len(draft.parents) == len(draft.states) == len(draft.depths)
    assert len(draft.children) == len(draft) + 1
    assert (draft.states[ROOT], draft.parents[ROOT], draft.depths[ROOT]) == (state, -1, 0)
    for node, (token, parent) in enumerate(zip(draft.tokens, draft.parents[1:], strict=True), start=1):
        assert ROOT <= parent < node  # parents before children
        assert draft.states[node] == grammar.step(draft.states[parent], token)
        assert draft.states[node] != OFF_GRAMMAR
        assert draft.depths[node] == len(branch(draft, node)) <= longest
    children = {(parent, token): node for parent, its in enumerate(draft.children) for token, node in its.items()}
    expected = zip(draft.parents[1:], draft.tokens, strict=True)
    assert children == {key: node for node, key in enumerate(expected, start=1)}


@pytest.mark.parametrize("before", ["", "Safety:", "Safety: Unsafe\nCategories: V", "Safety: Safe\nCategories: None"])
def test_the_longest_branch_allowed_cuts_the_tree_at_every_depth(toy, before):
    """So many levels of the whole tree, not a token more and not one less."""
    state = walk(toy.response, toy.encode(before))
    whole = toy.response.draft(state, LONGEST)
    for longest in range(max(whole.depths) + 2):
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

    return {is_response: QWEN3GUARD.grammar(encode, is_response=is_response) for is_response in (True, False)}


def test_the_real_vocabulary(real, qwen_tokenizer):
    draft = real[True].draft(real[True].start, LONGEST)
    decisions = [found for state in draft.states if (found := real[True].decision(state))]
    # Safe, Controversial, Unsafe; Yes, No
    assert decisions == [("severity", (22291, 2093, 73067)), ("refusal", (7414, 2308))]
    assert (len(draft), max(draft.depths)) == (23, 12)
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
        """Both labels begin with token 99, whatever is in front."""
        label = next((label for label in labels if text.endswith(label)), "")
        tokens = toy.encode(text.removesuffix(label)) if label != text else []
        return [*tokens, *([99, *toy.encode(label)] if label else [])]

    with pytest.raises(ValueError, match="with the same token"):
        QWEN3GUARD.grammar(encode, is_response=True)


def test_a_severity_and_a_refusal_may_begin_alike(toy):
    """They are decided at different places."""

    def encode(text):
        return toy.encode(text.removesuffix(" No") + " Safe") if text.endswith(" No") else toy.encode(text)

    grammar = QWEN3GUARD.grammar(encode, is_response=True)
    severity, refusal = (grammar.decision(walk(grammar, encode(t))) for t in ("Safety:", "Safety:?\nRefusal:"))
    assert severity.token_ids[0] == refusal.token_ids[1]


def test_a_vocabulary_in_which_words_collide_still_ends_its_drafts(toy):
    """Edges in a circle."""
    colliding = QWEN3GUARD.grammar(
        lambda text: [(token * 7 + 3) % toy.vocabulary for token in toy.encode(text)], is_response=True
    )
    for longest in (1, 16, LONGEST):
        draft = colliding.draft(colliding.start, longest)
        assert len(draft) < 50
        assert max(draft.depths) <= longest


def test_a_vocabulary_without_the_categories_still_ends_its_drafts():
    """One <unk> for every word of the categories but "Acts", "Content" and "or": many circles through one state."""
    words = ["Safety", "Categories", "Refusal", ":", "\n", ",", " Safe", " Unsafe", " Controversial", " None", " Yes"]
    words += [" No", " Acts", " Content", " or"]

    def encode(text):
        found = re.findall(r"\n|:|,| ?[^\s:,]+", text)
        return [words.index(word) if word in words else len(words) for word in found]

    grammar = QWEN3GUARD.grammar(encode, is_response=True)
    state = walk(grammar, encode("Safety: Unsafe\nCategories: Violent"))
    assert 0 < len(grammar.draft(state, 64)) <= MAX_DRAFT_TOKENS


LLAMA_LIKE = AnswerFormat(
    "<severity>",
    optional="\n<categories>",
    severity=Labels({"safe": Severity.SAFE, "unsafe": Severity.UNSAFE}),
    categories=Names(["S1", "S2"], separator=","),
)
JSON_LIKE = AnswerFormat(
    '{"flagged": <severity>, "refused": <refusal>}',
    severity=Labels({"false": Severity.SAFE, "true": Severity.UNSAFE}),
    refusal=Labels({"true": True, "false": False}),
)


@pytest.mark.parametrize(
    ("answer", "before", "rest"),
    [
        (LLAMA_LIKE, "", ["safe", "unsafe\n"]),  # nothing to name behind safe
        (LLAMA_LIKE, "unsafe\n", []),  # one of two names: the logits tell which
        (LLAMA_LIKE, "unsafe\nS2", [","]),
        (
            JSON_LIKE,
            "",
            [f'{{"flagged": {a}, "refused": {b}}}' for a in ("false", "true") for b in ("true", "false")],
        ),
        (JSON_LIKE, '{"flagged": true, "refused": false', ["}"]),
    ],
)
def test_drafts_of_other_formats(answer, before, rest):
    grammar = AnswerGrammar(answer, words.encode)
    draft = grammar.draft(walk(grammar, words.encode(before)), LONGEST)
    assert sorted(branches(draft, words.decode)) == sorted(rest)


def test_the_tokens_of_a_word_depend_on_what_is_in_front():
    """Some tokenizers put a mark in front of every text: it must not come between a label and its value."""
    vocabulary = ["<mark>", "Verdict:", "safe", "unsafe"]

    def encode(text):
        return [0, *(vocabulary.index(word) for word in text.split())]

    answer = AnswerFormat("Verdict: <severity>", severity=LLAMA_LIKE.slots["severity"])
    grammar = AnswerGrammar(answer, encode)
    assert grammar.decision(walk(grammar, encode("Verdict:"))).token_ids == (2, 3)
