"""Which guesses of a draft are right: the model's own tokens, followed through the tree."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from guard_reward.scoring.draft import ROOT, Decision, Draft, Grammar, State
from guard_reward.scoring.reading import NOT_FINITE

__all__ = ["VerifiedDraft", "Verifier"]


@dataclass(frozen=True, slots=True)
class VerifiedDraft:
    """What a pass has shown of an answer.

    Attributes:
        token_ids: the model's next tokens: those of the right guesses, and one more unless the answer has ended.
        ended: whether an end token came behind them.
        is_finite: whether the model's logits were finite numbers so far; if not, there is nothing behind them.
        state: of the grammar behind them.
        nodes: of the draft whose guesses are right, in order.
        decisions: (node, what was decided behind it).
    """

    token_ids: list[int]
    ended: bool
    state: State
    nodes: list[int]
    decisions: list[tuple[int, Decision]]
    is_finite: bool = True


class Verifier:
    """Verifies the drafts of one pass. Rows with the same draft and the same tokens, most of them, are followed once.

    Args:
        end_token_ids: the ids that end an answer.
    """

    def __init__(self, end_token_ids: Collection[int]):
        self._end_token_ids = end_token_ids
        self._known: dict[tuple[int, int, tuple[int, ...]], VerifiedDraft] = {}

    def verify(self, grammar: Grammar, draft: Draft, argmax: Sequence[int]) -> VerifiedDraft:
        """Follow the model's tokens while guesses are right, and one more.

        Args:
            grammar: of the row.
            draft: its guesses.
            argmax: the model's token behind each node, shape (1 + guesses,).
        """
        key = id(grammar), id(draft), tuple(argmax)  # grammars and drafts live as long as the pass
        if key not in self._known:
            self._known[key] = self._follow(grammar, draft, argmax)
        return self._known[key]

    def _follow(self, grammar: Grammar, draft: Draft, argmax: Sequence[int]) -> VerifiedDraft:
        state, tokens, nodes, decisions = draft.states[ROOT], list[int](), list[int](), list[tuple[int, Decision]]()
        node: int | None = ROOT
        while node is not None:
            decision = grammar.decision(state)
            if decision is not None:
                decisions.append((node, decision))
            token = argmax[node]
            if token == NOT_FINITE:
                return VerifiedDraft(tokens, False, state, nodes, decisions, is_finite=False)
            if token in self._end_token_ids:
                return VerifiedDraft(tokens, True, state, nodes, decisions)
            tokens.append(token)
            state = grammar.step(state, token)
            node = draft.children[node].get(token)
            if node is not None:
                nodes.append(node)
        return VerifiedDraft(tokens, False, state, nodes, decisions)
