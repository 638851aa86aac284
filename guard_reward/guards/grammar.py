"""An answer format as a state machine over token ids: it drafts the likely answers of a guard.

A state knows which tokens may come next. Following the likely ones drafts a small tree: of a fresh answer the whole of
a Safe verdict with every refusal label, and the beginnings of the other severities up to where the categories are
decided; behind a category both the end and a further category. So with Qwen3Guard a safe verdict costs one forward
pass, one category two passes, and each further category one more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from guard_reward.guards.answer import AnswerFormat, Labels, Names
from guard_reward.scoring.draft import ROOT, Decision, Draft, State
from guard_reward.verdict import Severity

__all__ = ["MAX_DRAFT_TOKENS", "AnswerGrammar"]

OFF_GRAMMAR: State = -1
_DECISIVE = ("severity", "refusal")  # the slots whose probabilities count
MAX_DRAFT_TOKENS = 64  # per draft; Qwen3Guard's longest has 23


class AnswerGrammar:
    """Drafts answers of one format (`guard_reward.scoring.draft.Grammar`).

    Args:
        answer: the format.
        encode: text → token ids without special tokens; the guard's tokenizer.

    Raises:
        ValueError: the tokenizer begins two labels of different meaning with the same token, so that one row of logits
            cannot tell them apart.
    """

    start: State = 0

    def __init__(self, answer: AnswerFormat, encode: Callable[[str], Sequence[int]]):
        self._encode = encode
        self._parts, self._alternatives = answer.parts, answer.alternatives
        self._first_optional = len(answer.required)
        self._first_closing = self._first_optional + len(answer.optional)
        self._edges: list[dict[int, State]] = [{}]
        self._decisions: dict[State, Decision] = {}
        self._labels: dict[str, tuple[str, ...]] = {}  # slot → the labels of its decision's tokens
        # Which of several next tokens are guessed; in other states only the first is.
        self._guessed: dict[State, list[int]] = {}
        self._targets: dict[tuple[int, bool], State] = {}
        self._after_names: list[State] = []  # one per list of names
        self._drafts: dict[tuple[State, int], Draft] = {}
        self._trace: State = OFF_GRAMMAR  # inside a think block
        self._in_trace: frozenset[State] = frozenset()
        self._meeting: list[tuple[State, State]] = []  # states that also are another one: S1 of S10
        self._open(answer)
        self._join_meeting_states()

    def step(self, state: State, token: int) -> State:
        """The state after `token`."""
        if state != OFF_GRAMMAR and token in self._edges[state]:
            return self._edges[state][token]
        if state in self._in_trace:  # what looked like the end of the think block was none
            return self._edges[self._trace].get(token, self._trace)
        # A name that the policy does not have leads off the grammar; its comma or line break leads back.
        return next(
            (self._edges[after][token] for after in self._after_names if token in self._edges[after]), OFF_GRAMMAR
        )

    def decision(self, state: State) -> Decision | None:
        """The slot whose label the next token decides, with the distinct first tokens of its labels."""
        return self._decisions.get(state)

    @property
    def label_token_ids(self) -> tuple[int, ...]:
        """The tokens of all decisions."""
        return tuple(dict.fromkeys(token for found in self._decisions.values() for token in found.token_ids))

    def by_label(self, log_probs: Mapping[str, Sequence[float]]) -> dict[str, dict[str, float]]:
        """Slot → label → log-probability, from those of the decisions' tokens.

        Of labels that share their first token only the first one is there; a label with two spellings has both's sum.
        """
        found: dict[str, dict[str, float]] = {slot: {} for slot in log_probs}
        for slot, values in log_probs.items():
            for label, value in zip(self._labels[slot], values, strict=True):
                known = found[slot].get(label)
                found[slot][label] = value if known is None else float(np.logaddexp(known, value))
        return found

    def draft(self, state: State, max_tokens: int) -> Draft:
        """Likely answers from `state` on, each at most `max_tokens` long; only the root if nothing can be foreseen.

        The end token needs no drafting: the logits behind the last token show it.
        """
        if (state, max_tokens) not in self._drafts:
            draft = Draft(state)
            if state != OFF_GRAMMAR:
                self._grow(draft, ROOT, max_tokens)
            self._drafts[state, max_tokens] = draft
        return self._drafts[state, max_tokens]

    def _grow(self, draft: Draft, node: int, max_tokens: int) -> None:
        """Add the tokens that are guessed behind `node`, and what follows them."""
        state = draft.states[node]
        for token in self._guessed.get(state, list(self._edges[state])[:1]):
            # The limit is for tokenizers that give several names the same tokens: the tree would branch without end.
            if max_tokens > 0 and len(draft) < MAX_DRAFT_TOKENS:
                self._grow(draft, draft.add(token, node, self._edges[state][token]), max_tokens - 1)

    def _open(self, answer: AnswerFormat) -> None:
        """What may stand in front of the first part, and the parts; what usually stands there is guessed."""
        first = self._new_state() if answer.thinks else self.start
        if answer.thinks:
            self._add_think_block(first)
            self._meeting.append((self.start, first))
        if answer.opening:
            self._fill(self._add(first, answer.opening, self._new_state(), ""), 0, is_safe=False, before=answer.opening)
        usual = list(self._edges[self.start])
        self._fill(first, 0, is_safe=False, before="")
        self._guessed.setdefault(self.start, list(self._edges[self.start]))
        if usual:
            self._guessed[self.start] = usual

    def _add_think_block(self, behind: State) -> None:
        """A think block at the start: an empty one is guessed, any other is followed up to its end."""
        first_new = len(self._edges)
        self._trace = self._new_state()
        ends = [f"</think>{blanks}" for blanks in ("\n", "\n\n", "")]
        self._add_longest_first(self.start, [f"<think>{blanks}{end}" for blanks in ("\n", "") for end in ends], behind)
        self._add_longest_first(self.start, ["<think>\n", "<think>"], self._trace)
        self._add_longest_first(self._trace, ends, behind)
        self._guessed[self._trace] = []
        self._in_trace = frozenset(range(first_new, len(self._edges)))

    def _join_meeting_states(self) -> None:
        """Let a state whose tokens may be all, or go on, have the edges of both."""
        for state, other in self._meeting:
            for token, target in self._edges[other].items():
                self._edges[state].setdefault(token, target)
            if other in self._guessed and other != self._trace:
                self._guessed.setdefault(state, self._guessed[other])
            if other in self._decisions:
                self._decisions.setdefault(state, self._decisions[other])

    def _fill(self, state: State, index: int, *, is_safe: bool, before: str) -> None:
        """Give `state` the edges of the answer's part `index` and of all that follows.

        Args:
            is_safe: whether the severity is known to be Safe, which makes an empty list of names likely.
            before: the text in front, which decides how a tokenizer begins the next piece.
        """
        if index == len(self._parts):
            return
        has_optional = index == self._first_optional < self._first_closing
        *others, closing = self._alternatives(index) or [len(self._parts)]
        self._fill(state, closing, is_safe=is_safe, before=before)  # all that is optional may be missing
        if has_optional and is_safe:
            self._guessed[state] = list(self._edges[state])  # an optional list of names: nothing to name
        for other in others:
            self._fill(state, other, is_safe=is_safe, before=before)
        text, _, slot = self._parts[index]
        # Blanks belong to the word behind them, as tokenizers see it.
        literal = text.rstrip(" ")
        blanks = text[len(literal) :]
        here = self._add(state, literal, self._new_state(), before) if literal else state
        if has_optional and self._first_closing < len(self._parts) and not is_safe:
            self._guessed[state] = list(self._edges[state])
        before = literal or before
        if isinstance(slot, Labels):
            self._fill_labels(here, index, slot, blanks, is_safe=is_safe, before=before)
        elif isinstance(slot, Names):
            self._fill_names(here, index, slot, blanks, is_safe=is_safe, before=before)

    def _fill_labels(self, state: State, index: int, slot: Labels, blanks: str, *, is_safe: bool, before: str) -> None:
        first_tokens: list[tuple[str, int]] = []
        for label, meaning in slot.meanings.items():
            safe = meaning is Severity.SAFE if isinstance(meaning, Severity) else is_safe
            target = self._target(index + 1, is_safe=safe, before=blanks + label)
            for tokens in self._spellings(before, blanks + label):
                first_tokens.append((label, tokens[0]))
                self._add_tokens(state, tokens, target)
        self._guessed[state] = list(self._edges[state])
        name = self._parts[index].name
        assert name is not None
        if name not in _DECISIVE:
            return
        for label, token in first_tokens:
            twin = next(other for other, its in first_tokens if its == token)
            if slot.meanings[twin] != slot.meanings[label]:
                raise ValueError(
                    f"the tokenizer begins {blanks + twin!r} and {blanks + label!r} with the same token ({token}), so "
                    f"their probabilities cannot be read from one position (tokens of {name}: {first_tokens})"
                )
        # Labels of one meaning may share their first token, which must not count twice.
        distinct: dict[int, str] = {}
        for label, token in first_tokens:
            distinct.setdefault(token, label)
        self._decisions[state] = Decision(name, tuple(distinct))
        self._labels[name] = tuple(distinct.values())

    def _fill_names(self, state: State, index: int, slot: Names, blanks: str, *, is_safe: bool, before: str) -> None:
        name = blanks + next(iter(slot.words), "")  # any of them
        after = self._target(index + 1, is_safe=False, before=name)
        if slot.none is not None:
            empty = self._new_state()
            self._fill(empty, index + 1, is_safe=False, before=blanks + slot.none)
            self._add(state, blanks + slot.none, empty, before)
        self._add_longest_first(state, [blanks + word for word in slot.words], after, before)
        # Behind Safe the list is empty. Behind another severity nothing is guessed: there are many names, and the
        # logits of this pass tell which comes, so that the next pass can guess the whole of it.
        self._guessed[state] = list(self._edges[state])[:1] if is_safe and slot.none is not None else []
        if after not in self._after_names:
            self._after_names.append(after)
            separator = slot.separator.rstrip(" ")
            further = self._new_state()
            self._add(after, separator, further, name)
            self._fill_further_names(further, slot, after, blanks=slot.separator[len(separator) :], before=separator)
            self._guessed[after] = list(self._edges[after])

    def _fill_further_names(self, state: State, slot: Names, after: State, *, blanks: str, before: str) -> None:
        self._add_longest_first(state, [blanks + word for word in slot.words], after, before)
        self._guessed[state] = []

    def _target(self, index: int, *, is_safe: bool, before: str) -> State:
        """The state in front of part `index`; one for both cases of `is_safe` once no list of names follows."""
        key = index, is_safe and any(isinstance(part.slot, Names) for part in self._parts[index:])
        if key not in self._targets:
            self._targets[key] = self._new_state()
            self._fill(self._targets[key], index, is_safe=key[1], before=before)
        return self._targets[key]

    def _tokens(self, before: str, text: str) -> list[int]:
        """The tokens of `text` behind `before`; some tokenizers begin a text differently from how they continue it."""
        known, whole = list(self._encode(before)) if before else [], list(self._encode(before + text))
        is_continued = len(whole) > len(known) and whole[: len(known)] == known
        return whole[len(known) :] if is_continued else list(self._encode(text))

    def _spellings(self, before: str, text: str) -> list[list[int]]:
        """The tokens of `text`; at the start of an answer in both ways in which it may begin there.

        SentencePiece tokenizers begin a text with a blank that is not in it (``▁Harmful``). Behind the line break with
        which most templates end, a model writes ``Harmful``.
        """
        return [self._tokens(before, text)] if before else [self._tokens("\n", text), self._tokens("", text)]

    def _new_state(self) -> State:
        self._edges.append({})
        return len(self._edges) - 1

    def _add(self, state: State, text: str, target: State, before: str) -> State:
        *others, last = self._spellings(before, text)
        for tokens in others:
            self._add_tokens(state, tokens, target)
        return self._add_tokens(state, last, target)

    def _add_longest_first(self, state: State, texts: Iterable[str], target: State, before: str = "") -> None:
        """Add paths to `target` of which one may begin with another: ``S1`` and ``S10``."""
        for text in sorted(texts, key=lambda text: -len(self._tokens(before, text))):
            self._add(state, text, target, before)

    def _add_tokens(self, state: State, tokens: Sequence[int], target: State) -> State:
        """Add a path to `target` and return where it ends, sharing the beginning of existing paths."""
        for token in tokens[:-1]:
            if token not in self._edges[state]:
                self._edges[state][token] = self._new_state()
            state = self._edges[state][token]
        found = self._edges[state].setdefault(tokens[-1], target)
        if found != target:
            self._meeting.append((found, target))
        return found
