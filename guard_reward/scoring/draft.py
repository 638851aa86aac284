"""Drafts: guesses of what a model says next, as a tree, and what the engine asks of a grammar.

The engine knows no format. A `Grammar` tells it which tokens are likely behind a state (`Draft`), which state a token
leads to, and which tokens' log-probabilities to report where something is decided (`Decision`). A draft is only a
guess: the engine verifies it, so a wrong grammar costs forward passes, never an answer.
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from guard_reward.scoring.prefixes import Ids

__all__ = ["ROOT", "Decision", "Draft", "Grammar", "State"]

State = int
ROOT = 0


class Decision(NamedTuple):
    """What the next token decides.

    Attributes:
        name: of the decision, under which `Generation.log_probs` has the log-probabilities.
        token_ids: the tokens that stand for its options.
    """

    name: str
    token_ids: tuple[int, ...]


class Grammar(Protocol):
    """What answers look like, token by token.

    Attributes:
        start: the state before the first token.
    """

    start: State

    def step(self, state: State, token: int) -> State:
        """The state after `token`."""
        ...

    def draft(self, state: State, max_tokens: int) -> Draft:
        """Likely tokens from `state` on, at most `max_tokens` in a row; only the root if nothing can be foreseen."""
        ...

    def decision(self, state: State) -> Decision | None:
        """What the next token decides; None if nothing that is to be reported."""
        ...


class Draft:
    """A tree of guesses. Node 0, the root, is the last known token; every other node is a guess behind its parent.

    Attributes:
        tokens: token id per guess, in node order, shape (guesses,); node n is ``tokens[n - 1]``.
        parents: parent node per node; the root's is -1. Parents have smaller numbers than their children.
        states: state of the grammar per node: behind the known tokens for the root, behind the guess for the others.
        depths: guesses between the root and each node, itself included; 0 for the root.
        children: token id → node of the guesses behind each node.

    >>> draft = Draft(state=0)
    >>> safe = draft.add(token=7, parent=ROOT, state=1)
    >>> draft.add(token=9, parent=safe, state=2), draft.children[ROOT], len(draft)
    (2, {7: 1}, 2)
    """

    def __init__(self, state: State):
        self.tokens: list[int] = []
        self.parents: list[int] = [-1]
        self.states: list[State] = [state]
        self.depths: list[int] = [0]
        self.children: list[dict[int, int]] = [{}]

    def __len__(self) -> int:
        """How many guesses there are."""
        return len(self.tokens)

    def add(self, token: int, parent: int, state: State) -> int:
        """Add a guess behind the node `parent`; returns its node. Not after the draft has been used."""
        node = len(self.parents)
        self.tokens.append(token)
        self.parents.append(parent)
        self.states.append(state)
        self.depths.append(self.depths[parent] + 1)
        self.children[parent][token] = node
        self.children.append({})
        return node

    @cached_property
    def guess_tokens(self) -> Ids:
        """The guesses' token ids, shape (guesses,)."""
        return np.array(self.tokens, dtype=np.int64)

    @cached_property
    def guess_depths(self) -> Ids:
        """The guesses' depths, shape (guesses,)."""
        return np.array(self.depths[1:], dtype=np.int64)

    @cached_property
    def visible(self) -> NDArray[np.bool_]:
        """Which guesses each guess sees: itself and those that lead to it, shape (guesses, guesses)."""
        visible = np.eye(len(self), dtype=bool)
        for guess, parent in enumerate(self.parents[1:]):
            if parent != ROOT:
                visible[guess] |= visible[parent - 1]
        return visible

    @cached_property
    def tree_key(self) -> tuple[int, ...]:
        """Two drafts with the same key have the same shape, so their attention masks are the same."""
        return tuple(self.parents)
