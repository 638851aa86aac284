"""What all guards in this process share: weights that load when needed and sleep, a name, what they have judged."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import torch

from guard_reward.models.checkpoint import weights_revision
from guard_reward.models.lazy import LazyModel
from guard_reward.scoring import Usage

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["LocalGuard", "LocalParts"]


class _CountingEngine(Protocol):
    usage: Usage


class LocalParts(Protocol):
    """What a loaded guard has at least."""

    @property
    def model(self) -> PreTrainedModel:
        """The weights."""
        ...

    @property
    def engine(self) -> _CountingEngine:
        """What computes, and counts what it has computed."""
        ...


Parts = TypeVar("Parts", bound=LocalParts)


class LocalGuard(Generic[Parts]):
    """A guard whose model runs in this process; the base of `TransformersGuard` and `StreamGuard`.

    Args:
        lazy: the parts of the guard. They are loaded now: what is wrong with a checkpoint fails on the user's own line.
    """

    def __init__(self, lazy: LazyModel[Parts]):
        self._lazy = lazy
        self._lazy.load()

    @property
    def _parts(self) -> Parts:
        return self._lazy.load()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    @property
    def name(self) -> str:
        """Hub id or folder; for a model built in memory, its class."""
        checkpoint = self._lazy.checkpoint
        return checkpoint.name if checkpoint else type(self._parts.model).__name__

    @property
    def usage(self) -> Usage:
        """What has been judged so far: verdicts, passes, and how many tokens were shared; sessions are not counted."""
        parts = self._lazy.parts
        return Usage() if parts is None else replace(parts.engine.usage)

    def sleep(self) -> None:
        """Give the accelerator's memory back: weights move to (pinned) CPU memory, cached keys and values are dropped.

        `wake` or the next use brings them back. On a CPU only the cache is freed.
        """
        self._lazy.sleep()

    def wake(self) -> None:
        """Bring the weights back to where they were before `sleep`."""
        self._lazy.wake()

    def describe(self) -> dict[str, str]:
        """What decides the verdicts, for the run's record."""
        model, checkpoint = self._parts.model, self._lazy.checkpoint
        return {
            "guard": self.name,
            "revision": weights_revision(model.config, None if checkpoint is None else checkpoint.name),
            **self._describe_format(),
            "dtype": str(model.dtype).removeprefix("torch."),
            "device": str(model.device),
            "torch": torch.__version__,
            "transformers": version("transformers"),
        }

    def _describe_format(self) -> dict[str, str]:
        """What the guard is shown and how it answers."""
        raise NotImplementedError
