"""Why a server gave no answer: what may be tried again, and what may not."""

from __future__ import annotations

import os

from guard_reward.errors import one_line
from guard_reward.guards.served.settings import API_KEY_VARIABLE
from guard_reward.verdict import Outcome, Unjudged

__all__ = ["Garbled", "Rejected", "RequestFailed", "Retriable", "WrongModel"]

_MAX_REASON = 600  # characters


class RequestFailed(Exception):
    """A request without an answer.

    Args:
        reason: for the user. It may quote the server: the API key in it is hidden, and it is cut to one short line.
        outcome: how a row ends whose request fails for good.
    """

    def __init__(self, reason: str, outcome: Outcome = Outcome.GUARD_ERROR):
        self.reason = _safe(reason)
        self.outcome = outcome
        super().__init__(self.reason)

    def unjudged(self) -> Unjudged:
        """The row's end."""
        return Unjudged(self.outcome, reason=self.reason)


def _safe(reason: str) -> str:
    key = os.environ.get(API_KEY_VARIABLE, "").strip()
    line = one_line(reason.replace(key, "HIDDEN") if key else reason)
    return line if len(line) <= _MAX_REASON else f"{line[:_MAX_REASON]}..."


class Retriable(RequestFailed):
    """The same request may succeed later, or at another replica: refused, reset, timed out, 429, 5xx, no JSON.

    Args:
        reason, outcome: see `RequestFailed`.
        retry_after: seconds that the server asks to wait.
        status: of HTTP; 0 without an answer.
    """

    def __init__(
        self,
        reason: str,
        outcome: Outcome = Outcome.GUARD_ERROR,
        *,
        retry_after: float | None = None,
        status: int = 0,
    ):
        super().__init__(reason, outcome)
        self.retry_after = retry_after
        self.status = status

    @property
    def is_busy(self) -> bool:
        """Whether the server is well, but has too much to do."""
        return self.status == 429


class Garbled(Retriable):
    """An answer that is none: no JSON, or of another form."""


class Rejected(RequestFailed):
    """The same request would fail again: a wrong key, an unknown model, an input that is too long.

    Args:
        reason, outcome: see `RequestFailed`.
        status: of HTTP.
    """

    def __init__(self, reason: str, outcome: Outcome = Outcome.GUARD_ERROR, *, status: int = 0):
        super().__init__(reason, outcome)
        self.status = status

    @property
    def concerns_server(self) -> bool:
        """Whether it says something of the server (key, model, route), not of this input."""
        return self.status in (401, 403, 404, 405)


class WrongModel(Rejected):
    """The server serves other models than the one that was named."""
