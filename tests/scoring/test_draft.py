"""Drafts: a tree of guesses whose root, node 0, is the last known token."""

from __future__ import annotations

from guard_reward.scoring.draft import ROOT, Draft


def test_a_tree_built_node_by_node():
    draft = Draft(state=7)
    first = draft.add(5, ROOT, 1)
    fork = draft.add(6, ROOT, 2)
    behind = draft.add(5, first, 3)
    assert (first, fork, behind) == (1, 2, 3)
    assert len(draft) == 3  # the root is not a guess
    assert draft.tokens == [5, 6, 5]
    assert draft.parents == [-1, ROOT, ROOT, first]
    assert draft.states == [7, 1, 2, 3]
    assert draft.depths == [0, 1, 1, 2]
    assert draft.children == [{5: first, 6: fork}, {5: behind}, {}, {}]


def test_drafts_of_one_shape_have_one_key():
    """Whatever their tokens and states: then their attention masks are the same."""

    def draft(*parents, token):
        made = Draft(state=token)
        for parent in parents:
            made.add(token, parent, token)
            token += 1
        return made

    assert draft(ROOT, 1, ROOT, token=1).tree_key == draft(ROOT, 1, ROOT, token=20).tree_key
    assert draft(ROOT, 1, ROOT, token=1).tree_key != draft(ROOT, 1, 1, token=1).tree_key
    assert Draft(state=0).tree_key != draft(ROOT, token=1).tree_key
