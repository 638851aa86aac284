"""What is done for a chunk of conversations before the model runs: they are read, encoded and planned."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from guard_reward.guards.assembly import Parts
from guard_reward.guards.inputs import Reading, Window, new_windows
from guard_reward.models.chat_template import Ids
from guard_reward.scoring import Generation, Grammar, PlannedBatch, ScoringEngine, plan_batches
from guard_reward.verdict import Conversation

__all__ = ["Preparation", "PreparedChunk"]

logger = logging.getLogger(__name__)
MAX_PLANNED_BYTES = 2**28  # of a chunk's plans; very long inputs have plans of many megabytes


@dataclass(frozen=True, slots=True)
class PreparedChunk:
    """Conversations that are ready to be scored.

    Attributes:
        numbers: of the conversations.
        readings: of each conversation.
        windows: what is scored: of equal windows one, and none that an earlier chunk has.
        grammars: what the answer to each window is expected to look like.
        batches: which windows go through the model together.
        token_budget: how many tokens a batch was planned to hold.
        plans: what the engine has planned for each batch; taken out when it is run.
    """

    numbers: list[int]
    readings: list[list[Reading]]
    windows: list[Window]
    grammars: list[Grammar]
    batches: list[list[int]]
    token_budget: int
    plans: dict[tuple[int, ...], PlannedBatch]

    def generate(self, engine: ScoringEngine, indices: Sequence[int]) -> list[Generation]:
        """The answers to some windows: as planned if they are a batch that has not been run yet."""
        return engine.generate(*self.inputs(indices), planned=self.plans.pop(tuple(indices), None))

    def inputs(self, indices: Sequence[int]) -> tuple[list[Ids], list[Grammar]]:
        """Token ids and grammars of some windows."""
        return [self.windows[index].ids for index in indices], [self.grammars[index] for index in indices]


class Preparation:
    """Prepares the chunks of one call, one after the other.

    Args:
        conversations: of the call.
        parts: of the guard.
        token_budget: how many tokens a batch may hold as long as memory does not run out.
    """

    def __init__(self, conversations: Sequence[Conversation], parts: Parts, token_budget: int):
        self._conversations = conversations
        self._parts = parts
        self._token_budget = token_budget
        self._encoder = parts.encoder
        self._seen: set[Hashable] = set()  # keys of the windows so far

    def __call__(self, numbers: list[int]) -> PreparedChunk:
        """The conversations with these numbers."""
        readings = self._encoder.encode([self._conversations[number] for number in numbers])
        windows = list(new_windows(readings, self._seen))
        grammars: list[Grammar] = [self._parts.codec.grammar(is_response=window.is_response) for window in windows]
        budget = self._parts.batches.limited(self._token_budget)
        batches = plan_batches([window.ids for window in windows], budget)
        chunk = PreparedChunk(numbers, readings, windows, grammars, batches, budget, {})
        self._plan(chunk)
        return chunk

    def _plan(self, chunk: PreparedChunk) -> None:
        """Plan the chunk's batches; those behind `MAX_PLANNED_BYTES` are planned when they are run."""
        planned_bytes, most = 0, self._parts.batches.part_tokens(self._token_budget)
        for batch in chunk.batches:
            try:
                planned = self._parts.engine.plan(*chunk.inputs(batch), max_pass_tokens=most)
            except Exception:  # it will fail again when it is run, and then cost only the row that is bad
                logger.debug("a batch of %d rows cannot be planned", len(batch), exc_info=True)
                continue
            chunk.plans[tuple(batch)] = planned
            planned_bytes += planned.nbytes
            if planned_bytes > MAX_PLANNED_BYTES:
                break
