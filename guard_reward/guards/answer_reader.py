"""A guard's answers, as token ids, → verdicts."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from guard_reward.guards.codec import Codec
from guard_reward.guards.inputs import Window, guard_error
from guard_reward.scoring import Generation
from guard_reward.verdict import Unjudged, Verdict

__all__ = ["AnswerReader"]


class AnswerReader:
    """Reads the answers of one call. Most are alike, so each distinct one is decoded and parsed once.

    Args:
        codec: of the guard.
    """

    def __init__(self, codec: Codec):
        self._codec = codec
        self._parsed: dict[tuple[bool, tuple[int, ...]], Verdict | Unjudged] = {}

    def read(
        self, windows: Sequence[Window], generations: Sequence[Generation | Exception]
    ) -> dict[Hashable, Verdict | Unjudged]:
        """Key of each window → its verdict.

        Args:
            windows: what was scored.
            generations: the answer to each window; an exception for one that could not be scored.
        """
        return {
            window.key: self._verdict(generation, is_response=window.is_response)
            for window, generation in zip(windows, generations, strict=True)
        }

    def _verdict(self, generation: Generation | Exception, *, is_response: bool) -> Verdict | Unjudged:
        if isinstance(generation, Exception):
            return guard_error(generation)
        key = is_response, tuple(generation.token_ids)
        if key not in self._parsed:
            self._parsed[key] = self._codec.parsed(key[1], is_response=is_response)
        verdict = self._parsed[key]
        if isinstance(verdict, Unjudged):
            return verdict
        return self._codec.with_probabilities(verdict, generation.log_probs, is_response=is_response)
