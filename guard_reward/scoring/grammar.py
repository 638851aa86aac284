"""The verdict format as a state machine over token ids: the draft model of speculative decoding.

    Safety: Safe|Unsafe|Controversial ⏎ Categories: None|<name>{, <name>} [⏎ Refusal: No|Yes]

A state knows which tokens may come next, the likeliest first; following the first edges drafts the likeliest rest of
the answer. A draft is only ever a guess: the engine verifies it, so a wrong grammar costs passes, never a verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from guard_reward.verdict import Category, Severity

__all__ = ["VerdictGrammar"]

State = int
OFF_GRAMMAR: State = -1


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
        self._end = self._new_state()
        self.severity_state = self._new_state()
        self.refusal_state = self._new_state()
        self._category_end = self._new_state() if with_refusal else self._end
        category_state = self._new_state()
        label_end = self._new_state()

        self._add(self.start, encode("Safety:"), self.severity_state)
        for severity in (Severity.SAFE, Severity.UNSAFE, Severity.CONTROVERSIAL):
            self._add(self.severity_state, encode(f" {severity}"), label_end)
        self._add(label_end, encode("\nCategories:"), category_state)
        for name in ("None", *Category):
            self._add(category_state, encode(f" {name}"), self._category_end)
        if with_refusal:
            self._add(self._category_end, encode("\nRefusal:"), self.refusal_state)
        self._add(self._category_end, encode(","), category_state)
        for word in ("No", "Yes"):
            self._add(self.refusal_state, encode(f" {word}"), self._end)

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

    def draft(self, state: State) -> list[int]:
        """The likeliest rest of the answer, without the end token; empty where nothing can be foreseen.

        Ends where the answer may end. The end itself needs no drafting: the logits behind the last token show it.
        """
        tokens: list[int] = []
        # Where a vocabulary gives several labels the same tokens, the edges may run in a circle.
        passed = {OFF_GRAMMAR, self._end}
        while state not in passed:
            passed.add(state)
            token, state = next(iter(self._edges[state].items()))
            tokens.append(token)
        return tokens

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
