"""Which guesses of a draft are right, by hand and for random trees."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from guard_reward.scoring.draft import ROOT, Decision, Draft
from guard_reward.scoring.verification import VerifiedDraft, Verifier

END = 9
TOKENS = st.integers(0, 3) | st.just(END)


class CountingGrammar:
    """Its state is how many tokens came; every second one is a decision."""

    start = 0

    def step(self, state, token):
        return state + 1

    def decision(self, state):
        return None if state % 2 else Decision(f"decision {state}", (0, 1))


@st.composite
def drafts(draw):
    draft = Draft(state=draw(st.integers(0, 1)))
    for _ in range(draw(st.integers(0, 8))):
        parent = draw(st.integers(ROOT, len(draft)))
        token = draw(st.integers(0, 3))
        if token not in draft.children[parent]:
            draft.add(token, parent, draft.states[parent] + 1)
    return draft


def test_by_hand():
    draft = Draft(state=0)
    first = draft.add(2, ROOT, 1)
    second = draft.add(3, first, 2)
    draft.add(1, ROOT, 1)
    verifier = Verifier([END])
    grammar = CountingGrammar()
    whole = verifier.verify(grammar, draft, [2, 3, END, 0])
    decisions = [(ROOT, Decision("decision 0", (0, 1))), (second, Decision("decision 2", (0, 1)))]
    assert whole == VerifiedDraft([2, 3], True, 2, [first, second], decisions)
    assert verifier.verify(grammar, draft, [0, 3, END, 0]) == VerifiedDraft([0], False, 1, [], decisions[:1])
    assert verifier.verify(grammar, draft, [END, 3, END, 0]) == VerifiedDraft([], True, 0, [], decisions[:1])


@settings(deadline=None, max_examples=200)
@given(tree=drafts(), rows=st.lists(st.lists(TOKENS, min_size=9, max_size=9), min_size=1, max_size=6))
def test_what_is_remembered_is_what_is_found(tree, rows):
    grammar, verifier = CountingGrammar(), Verifier([END])
    for argmax in rows * 2:
        argmax = argmax[: 1 + len(tree)]
        found = verifier.verify(grammar, tree, argmax)
        assert found == Verifier([END]).verify(grammar, tree, argmax)
        # Token by token: each one is what the model says behind the guesses that are right so far.
        said = [argmax[node] for node in (ROOT, *found.nodes)]
        assert said == [*found.token_ids, END] if found.ended else said == found.token_ids
        assert found.state == tree.states[ROOT] + len(found.token_ids)


def test_grammars_and_drafts_are_told_apart():
    class Other(CountingGrammar):
        def decision(self, state):
            return None

    first, second = Draft(state=0), Draft(state=0)
    second.add(2, ROOT, 1)
    verifier, grammar = Verifier([END]), CountingGrammar()
    assert verifier.verify(grammar, first, [2]).nodes == []
    assert verifier.verify(grammar, second, [2, 0]).nodes == [1]
    assert verifier.verify(Other(), first, [2]).decisions == []
