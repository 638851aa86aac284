"""What every guard offers to the rooms above."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from guard_reward.verdict import Unjudged, Verdict

__all__ = ["Conversation", "Guard"]

Conversation = Sequence[Mapping[str, Any]]
"""Chat messages, ``[{"role": "user", "content": "…"}, …]``."""


@runtime_checkable
class Guard(Protocol):
    """Anything that judges conversations. A guard is not a ``torch.nn.Module``: trainers would take it for a policy."""

    def moderate(self, conversations: Sequence[Conversation]) -> list[Verdict | Unjudged]:
        """Judge each conversation's last message: a user's (or a late system's) as a prompt, else as a response.

        Never raises for a conversation that it cannot judge: that row gets an `Unjudged` with the reason.

        Returns:
            One verdict a conversation, in the same order.
        """
        ...

    def describe(self) -> dict[str, str]:
        """Facts for the run's record: ``guard``, ``revision``, ``template_hash``, ``dtype``, versions, …"""
        ...
