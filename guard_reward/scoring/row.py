"""One row of a batch while it is answered, and its answer."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from guard_reward.scoring.draft import Draft, Grammar, State
from guard_reward.scoring.prefixes import Ids
from guard_reward.scoring.reading import NOT_FINITE
from guard_reward.scoring.verification import VerifiedDraft

__all__ = ["MAX_DRAFT_TOKENS", "MAX_MISSES", "MAX_UNGUESSED", "NO_DRAFT", "Generation", "Row"]

NO_DRAFT = Draft(state=0)
MAX_DRAFT_TOKENS = 64
MAX_MISSES = 3  # after so many drafts in a row without a right guess, a row is decoded without drafts
MAX_UNGUESSED = 4  # passes in a row; a name that the grammar does not have is shorter, then it has guesses again


@dataclass(slots=True)
class Generation:
    """One row's greedy answer.

    Attributes:
        token_ids: the answer, without the end token.
        ended: whether the end token came within the limit of new tokens.
        passes: forward passes this row took part in.
        log_probs: name of each `Decision` that the answer passed → the log-probabilities of its tokens at that place.
        is_finite: whether all logits were finite numbers; if not, the answer is cut off where they were not.
    """

    token_ids: list[int] = field(default_factory=list)
    ended: bool = False
    passes: int = 0
    log_probs: dict[str, list[float]] = field(default_factory=dict)
    is_finite: bool = True


@dataclass(slots=True)
class Row:
    """A row that is being answered.

    Attributes:
        grammar: what its answer is expected to look like.
        limit: the longest answer, in tokens.
        state: of the grammar, behind all known tokens.
        slots: of all known tokens, the new ones last.
        new_tokens: known tokens that the next pass computes; none if the answer is complete.
        generation: the answer so far.
        draft, draft_slots: guesses of the next pass, and their slots.
        misses: drafts in a row without a right guess.
        unguessed: passes in a row without guesses.
    """

    grammar: Grammar
    limit: int
    state: State
    slots: Ids
    new_tokens: Ids
    generation: Generation = field(default_factory=Generation)
    draft: Draft = NO_DRAFT
    draft_slots: Ids = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    misses: int = 0
    unguessed: int = 0

    @property
    def left(self) -> int:
        """How many more tokens the answer may have."""
        return self.limit - len(self.generation.token_ids)

    @property
    def is_complete(self) -> bool:
        """Whether the answer has ended, has reached the limit, or cannot go on."""
        return self.generation.ended or self.left <= 0 or not self.generation.is_finite

    @property
    def is_lost(self) -> bool:
        """Whether the answer is off the grammar: nothing is guessed, and has not been for long or never will be."""
        return not len(self.draft) and (self.unguessed >= MAX_UNGUESSED or self.misses >= MAX_MISSES)

    def next_draft(self) -> Draft:
        """What the grammar guesses of the next tokens; only the root if it has missed too often, or cannot tell."""
        return self.grammar.draft(self.state, min(self.left - 1, MAX_DRAFT_TOKENS) if self.misses < MAX_MISSES else 0)

    def accept(self, verified: VerifiedDraft, log_probs: Mapping[int, list[float]]) -> None:
        """Take the model's tokens that a pass has shown.

        Args:
            verified: these tokens.
            log_probs: node of the draft → log-probabilities of the tokens of the decision behind it.
        """
        self.generation.passes += 1
        self.generation.token_ids += verified.token_ids
        self.generation.ended = verified.ended
        self.generation.is_finite = verified.is_finite
        self.state = verified.state
        for node, decision in verified.decisions:
            self.generation.log_probs[decision.name] = log_probs[node][: len(decision.token_ids)]

    def take(self, token: int, end_token_ids: Collection[int]) -> None:
        """Take the model's next token."""
        if token == NOT_FINITE:
            self.generation.is_finite = False
        elif token in end_token_ids:
            self.generation.ended = True
        else:
            self.generation.token_ids.append(token)
            self.state = self.grammar.step(self.state, token)
