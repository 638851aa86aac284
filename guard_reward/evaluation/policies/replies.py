"""A policy's reply to a prompt, and what every policy offers. No model, no guard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["Policy", "Prompt", "Reply"]

Prompt = Sequence[Mapping[str, Any]]
"""Chat messages, ``[{"role": "user", "content": "…"}, …]``."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a policy answered.

    Attributes:
        answer: what a user sees.
        thinking: its reasoning; None if it wrote none.
        truncated: whether it was cut off for length; None if that is unknown.
        error: why there is no reply; empty if there is one.

    >>> Reply("Hello.", thinking="A greeting.").as_completion()
    [{'role': 'assistant', 'content': 'Hello.', 'reasoning_content': 'A greeting.'}]
    """

    answer: str = ""
    thinking: str | None = None
    truncated: bool | None = None
    error: str = ""

    def as_completion(self) -> list[dict[str, str]]:
        """As the messages that a trainer would pass to a reward function."""
        thinking = {} if self.thinking is None else {"reasoning_content": self.thinking}
        return [{"role": "assistant", "content": self.answer, **thinking}]


class Policy(Protocol):
    """Anything that replies to prompts."""

    name: str

    def reply(self, prompts: Sequence[Prompt], *, seed: int) -> list[Reply]:
        """One sampled reply per prompt, in the same order. A prompt that stands there several times gets several.

        Never raises for one prompt: its reply then says the error. The same prompts and seed give the same replies, as
        far as the model that writes them can.
        """
        ...

    def with_template(self, template_kwargs: Mapping[str, Any]) -> Policy:
        """The same policy under other arguments of its chat template, such as ``{"enable_thinking": False}``."""
        ...

    def describe(self) -> dict[str, str]:
        """What decides the replies, for the record."""
        ...
