"""The verdict format as a state machine over token ids: the draft model of speculative decoding.

    Safety: Safe|Unsafe|Controversial ⏎ Categories: None|<name>{, <name>} [⏎ Refusal: No|Yes]

A state knows which tokens may come next. Following them drafts a small tree of likely answers: of a fresh answer the
whole of ``Safe`` with both refusal words, and the beginnings of ``Unsafe`` and ``Controversial`` up to where the
category is decided; behind a category both the end and a further category. So a safe verdict costs one forward pass,
one category two, each further category one more. A draft is only ever a guess: the engine verifies it, so a wrong
grammar costs passes, never a verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from guard_reward.verdict import Category, Severity

__all__ = ["Draft", "VerdictGrammar"]

State = int
OFF_GRAMMAR: State = -1
ROOT = -1
MOST_GUESSES = 64  # of one draft; Qwen3's longest has 23


@dataclass(slots=True, eq=False)
class Draft:
    """A tree of guesses about what comes next; parents stand before their children.

    Attributes:
        tokens: the guessed token ids, shape (n,).
        parents: where in `tokens` the token before it stands; -1 for what follows the tokens that are known.
        states: the grammar's state behind each token.
        depths: how many guesses lie before each token.
        following: token → place of the guesses that follow what is known (first), and that follow each guess; n + 1
            of them.
    """

    tokens: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    states: list[State] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    following: list[dict[int, int]] = field(default_factory=lambda: [{}])

    def __len__(self) -> int:
        return len(self.tokens)

    def add(self, token: int, parent: int, state: State) -> int:
        """Add a guess behind `parent`; returns its place."""
        place = len(self)
        self.tokens.append(token)
        self.parents.append(parent)
        self.states.append(state)
        self.depths.append(0 if parent == ROOT else self.depths[parent] + 1)
        self.following[parent + 1][token] = place
        self.following.append({})
        return place


class VerdictGrammar:
    """Drafts verdicts, token by token.

    Args:
        encode: text → token ids, without special tokens; the guard's tokenizer.
        with_refusal: whether the answer has a ``Refusal:`` line (response moderation) or not (prompt moderation).

    Attributes:
        start: the state before the first token.
        severity_state: the state in which the next token decides the severity.
        refusal_state: the state in which the next token decides the refusal.
        watched: first tokens of Safe, Controversial, Unsafe, Yes, No: the ids whose log-probabilities make up the
            verdict's probabilities.

    Raises:
        ValueError: the tokenizer begins two of the labels with the same token, so one logit row cannot tell them apart.
    """

    start: State = 0

    def __init__(self, encode: Callable[[str], Sequence[int]], *, with_refusal: bool):
        self._edges: list[dict[int, State]] = [{}]
        self.severity_state = self._new_state()
        self.refusal_state = self._new_state()
        safe, not_safe = self._new_state(), self._new_state()
        first_category, category = self._new_state(), self._new_state()
        self._category_end, none_end, end = self._new_state(), self._new_state(), self._new_state()

        self._add(self.start, encode("Safety:"), self.severity_state)
        self._add(self.severity_state, encode(f" {Severity.SAFE}"), safe)
        self._add(self.severity_state, encode(f" {Severity.UNSAFE}"), not_safe)
        self._add(self.severity_state, encode(f" {Severity.CONTROVERSIAL}"), not_safe)
        self._add(safe, encode("\nCategories:"), first_category)
        self._add(not_safe, encode("\nCategories:"), category)
        for state in (first_category, category):
            self._add(state, encode(" None"), none_end)
            for name in Category:
                self._add(state, encode(f" {name}"), self._category_end)
        if with_refusal:
            self._add(none_end, encode("\nRefusal:"), self.refusal_state)
            self._add(self._category_end, encode("\nRefusal:"), self.refusal_state)
            for word in ("No", "Yes"):
                self._add(self.refusal_state, encode(f" {word}"), end)
        self._add(self._category_end, encode(","), category)

        # Which of several next tokens are guessed; elsewhere it is the first. Behind Unsafe no category is: there are
        # nine, and the logits of this pass tell which, so that the next pass can guess its whole name.
        self._guessed: dict[State, list[int]] = {
            state: list(self._edges[state]) for state in (self.severity_state, self.refusal_state, self._category_end)
        } | {category: []}
        self._drafts: dict[tuple[State, int], Draft] = {}

        labels = [*(f" {severity}" for severity in Severity), " Yes", " No"]
        self.watched: tuple[int, ...] = tuple(encode(label)[0] for label in labels)
        if len(set(self.watched[:3])) < 3 or self.watched[3] == self.watched[4]:
            raise ValueError(
                "the tokenizer begins two of ' Safe', ' Controversial', ' Unsafe' (or ' Yes', ' No') with the same "
                f"token ({self.watched}), so their probabilities cannot be read from one position"
            )

    def step(self, state: State, token: int) -> State:
        """The state after `token`."""
        if state != OFF_GRAMMAR and token in self._edges[state]:
            return self._edges[state][token]
        # A category that the policy does not know leads off the grammar; its comma or line break leads back.
        return self._edges[self._category_end].get(token, OFF_GRAMMAR)

    def draft(self, state: State, longest: int) -> Draft:
        """Likely answers from `state` on, each at most `longest` tokens; empty where nothing can be foreseen.

        The end token needs no drafting: the logits behind the last token show it.
        """
        if (state, longest) not in self._drafts:
            draft = Draft()
            if state != OFF_GRAMMAR:
                self._grow(draft, ROOT, state, longest)
            self._drafts[state, longest] = draft
        return self._drafts[state, longest]

    def _grow(self, draft: Draft, parent: int, state: State, longest: int) -> None:
        """Add the tokens that are guessed behind `parent`, and what follows them."""
        for token in self._guessed.get(state, list(self._edges[state])[:1]):
            # The limit is for tokenizers that give several names the same tokens: the tree would branch without end.
            if longest > 0 and len(draft) < MOST_GUESSES:
                target = self._edges[state][token]
                self._grow(draft, draft.add(token, parent, target), target, longest - 1)

    def _new_state(self) -> State:
        self._edges.append({})
        return len(self._edges) - 1

    def _add(self, state: State, tokens: Sequence[int], target: State) -> None:
        """Add the path `tokens` from `state` to `target`, sharing the beginning of paths that are there already."""
        for token in tokens[:-1]:
            if token not in self._edges[state]:
                self._edges[state][token] = self._new_state()
            state = self._edges[state][token]
        self._edges[state].setdefault(tokens[-1], target)
