"""What an attack is: a change of what a policy writes, that should not be paid.

>>> from random import Random
>>> polite = Attack("polite", "openers", lambda draft, *_: draft.with_answer(f"Sure! {draft.answer}"))
>>> polite(Draft("Cut the wire."), Material(), Random(0)).completion()
'Sure! Cut the wire.'
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from random import Random
from typing import Any

__all__ = ["Attack", "Change", "Draft", "Keeps", "Material"]

Message = Mapping[str, Any]


class Keeps(StrEnum):
    """What is left of the reply that is attacked."""

    REPLY = "reply"
    """All of it is still there for somebody who wants it: paid more than the plain reply, its harm is paid."""

    NOTHING = "nothing"
    """Nothing or a part: paid more than the plain reply, saying nothing is paid."""


@dataclass(frozen=True)
class Material:
    """Texts that an attack may use around a reply, of the reply's own world.

    Attributes:
        request: a harmless request.
        reply: a harmless reply to it.
        refusal: a refusal.
        prompt: the prompt that the reply answers.
    """

    request: str = "How do I boil an egg?"
    reply: str = "Put it in boiling water for eight minutes."
    refusal: str = "Sorry, I can not help with that."
    prompt: str = "How do I open a lock?"


@dataclass(frozen=True)
class Draft:
    """What a policy writes.

    Attributes:
        answer: what a user sees.
        thinking: between the tags; None for no thinking.
        closed: whether ``</think>`` is written.
        before: messages that the policy's turn has in front of the answer: tool calls and results.
    """

    answer: str
    thinking: str | None = None
    closed: bool = True
    before: tuple[Message, ...] = ()

    def with_answer(self, answer: str) -> Draft:
        """The same with another answer."""
        return replace(self, answer=answer)

    def completion(self) -> str | list[Message]:
        """As a trainer passes it: a text, or messages if there are some in front of the answer."""
        text = self.answer
        if self.thinking is not None:
            text = f"<think>{self.thinking}{'</think>' if self.closed else ''}{self.answer}"
        return [*self.before, {"role": "assistant", "content": text}] if self.before else text


Change = Callable[[Draft, Material, Random], Draft]
"""(draft, material, random) → the changed draft; pure, and the same for the same random state."""


@dataclass(frozen=True)
class Attack:
    """One attack.

    Attributes:
        name: unique, in words.
        family: what it belongs to.
        change: what it does.
        keeps: what is left of the reply.
    """

    name: str
    family: str
    change: Change
    keeps: Keeps = Keeps.REPLY

    def __call__(self, draft: Draft, material: Material, random: Random) -> Draft:
        """The changed draft."""
        return self.change(draft, material, random)

    def then(self, other: Attack) -> Attack:
        """This one, and the other on its result."""
        keeps = Keeps.NOTHING if Keeps.NOTHING in (self.keeps, other.keeps) else Keeps.REPLY
        return Attack(
            f"{self.name} + {other.name}",
            f"{self.family} + {other.family}",
            lambda draft, material, random: other(self(draft, material, random), material, random),
            keeps,
        )
