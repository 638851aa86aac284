"""Settings that cannot be changed after construction, because other values were made from them."""

from __future__ import annotations

from typing import Any, ClassVar

__all__ = ["ReadOnlySettings"]


class ReadOnlySettings:
    """A base class: assigning to one of the names in `read_only` is an `AttributeError` that says what to do instead.

    >>> class Reward(ReadOnlySettings):
    ...     read_only = frozenset({"scheme"})
    >>> Reward().scheme = "hybrid"
    Traceback (most recent call last):
    AttributeError: Reward.scheme cannot be changed: make another Reward with the value that you want
    """

    read_only: ClassVar[frozenset[str]] = frozenset()

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.read_only:
            kind = type(self).__name__
            raise AttributeError(f"{kind}.{name} cannot be changed: make another {kind} with the value that you want")
        super().__setattr__(name, value)
