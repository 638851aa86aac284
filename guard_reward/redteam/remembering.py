"""A guard that is asked about each conversation once, for rewards that differ in everything else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from guard_reward.verdict import Conversation, Guard, Outcome, Unjudged, Verdict, describe_guard

__all__ = ["RememberingGuard"]

_FAILED = (Outcome.GUARD_ERROR, Outcome.TIMEOUT)


class RememberingGuard:
    """Passes on what is new, and keeps what the guard said. Conversations on which it failed are asked again.

    Args:
        guard: whom to ask; everything else that it offers is offered too.

    >>> class Guard:
    ...     def moderate(self, conversations):
    ...         print(len(conversations), "asked")
    ...         return [Verdict("Safe")] * len(conversations)
    >>> guard, hello = RememberingGuard(Guard()), [{"role": "user", "content": "Hello"}]
    >>> verdicts = guard.moderate([hello]) + guard.moderate([hello, [*hello, *hello]])
    1 asked
    1 asked
    """

    def __init__(self, guard: Guard):
        self._guard = guard
        self._known: dict[tuple[tuple[Any, Any], ...], Verdict | Unjudged] = {}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # being copied or unpickled, it has no guard yet
            raise AttributeError(name)
        return getattr(self._guard, name)

    def moderate(self, conversations: Sequence[Conversation]) -> list[Verdict | Unjudged]:
        """One entry per conversation, in order."""
        keys = [tuple((turn["role"], turn["content"]) for turn in conversation) for conversation in conversations]
        new = {key: list(it) for key, it in zip(keys, conversations, strict=True) if key not in self._known}
        answers = self._guard.moderate(list(new.values())) if new else []
        judged = dict(zip(new, answers, strict=True))
        self._known |= {key: it for key, it in judged.items() if isinstance(it, Verdict) or it.outcome not in _FAILED}
        return [self._known[key] if key in self._known else judged[key] for key in keys]

    def describe(self) -> dict[str, str]:
        """The guard's own facts."""
        return describe_guard(self._guard)
