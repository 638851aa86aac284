"""A text that a stream guard judges while it is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

from guard_reward.guards.stream_reading import StreamReader
from guard_reward.guards.stream_rules import Flagging
from guard_reward.scoring import GrowingRow
from guard_reward.scoring.prefixes import as_ids, common_prefix
from guard_reward.verdict import Severity, TokenVerdict

if TYPE_CHECKING:
    from torch import Tensor

    from guard_reward.guards.stream_guard import StreamGuard

__all__ = ["ContextOverflowError", "StreamSession"]


class ContextOverflowError(ValueError):
    """A growing text is longer than the guard's context."""


class StreamSession:
    """One growing message; made by `guard_reward.StreamGuard.open`. Its keys and values are kept until it is closed.

    Attributes:
        token_ids: the message's tokens so far.
        verdicts: on each of them.
        is_response: whether it is a response, or a prompt.
        rule: what of it is flagged so far.
        row: its place in the engine.
        severity: of the message so far; of a prompt, read at its last token.
        is_closed: whether it takes no more tokens.
    """

    def __init__(self, guard: StreamGuard, waiting: Sequence[int], opening: Sequence[int] = (), *, is_response: bool):
        """A session.

        Args:
            guard: that judges it.
            waiting: tokens in front of the message, computed with its first ones.
            opening: tokens that are not judged where the message begins with them: the tag that opens its thinking.
            is_response: whether a response grows, or a prompt.
        """
        self._guard = guard
        self.waiting = list(waiting)
        self._opening = list(opening)
        self.is_response = is_response
        self.token_ids: list[int] = []
        self.verdicts: list[TokenVerdict] = []
        self.rule = Flagging()
        self.severity = Severity.SAFE
        self.row = GrowingRow()
        self.is_closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"StreamSession({len(self.token_ids)} tokens, {self.severity}{', closed' if self.is_closed else ''})"

    def is_of(self, guard: StreamGuard) -> bool:
        """Whether a guard has opened it."""
        return self._guard is guard

    def feed(self, token_ids: Sequence[int]) -> list[TokenVerdict]:
        """Judge the message's next tokens; see `guard_reward.StreamGuard.feed_many`."""
        (verdicts,) = self._guard.feed_many([self], [token_ids])
        return verdicts

    def take(self, token_ids: Sequence[int], logits: Tensor, reader: StreamReader) -> list[TokenVerdict]:
        """The verdicts on the next tokens, whose logits are known, of shape (tokens, outputs)."""
        known = len(self.token_ids)
        begun = as_ids([*self.token_ids[: len(self._opening)], *token_ids])
        unjudged = max(common_prefix(begun, as_ids(self._opening)) - known, 0)
        verdicts = reader.token_verdicts(token_ids, logits, self.rule, is_response=self.is_response, unjudged=unjudged)
        self.token_ids += token_ids
        self.verdicts += verdicts
        self.waiting = []
        self.severity = verdicts[-1].severity
        return verdicts

    def rewind(self, length: int) -> None:
        """Take the message's last tokens back, so that its first `length` are left; what they flagged is forgotten.

        Raises:
            ValueError: the session is closed, or the message has fewer tokens.
        """
        if self.is_closed or not 0 <= length <= len(self.token_ids):
            raise ValueError(f"{self!r} cannot be rewound to {length} tokens")
        self._guard.rewound(self, len(self.token_ids) - length)
        del self.token_ids[length:], self.verdicts[length:]
        self.rule = Flagging()
        for verdict in self.verdicts:
            self.rule.add(verdict.risk)
        self.severity = self.verdicts[-1].severity if self.verdicts else Severity.SAFE

    def close(self) -> None:
        """Free what is kept for it; it takes no more tokens. A closed session may be closed again."""
        if not self.is_closed:
            self.is_closed = True
            self._guard.closed(self)
