"""`LazyModel`: a frozen model and what is built around it, loaded when it is first needed."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import torch

from guard_reward.models.checkpoint import Checkpoint
from guard_reward.models.sleep import MODEL_LOCK, move_back, move_to_cpu

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["LazyModel"]


class HasModel(Protocol):
    """What is built around a model."""

    @property
    def model(self) -> PreTrainedModel:
        """The model."""
        ...


Parts = TypeVar("Parts", bound=HasModel)


class LazyModel(Generic[Parts]):
    """The life of a guard's or a reward model's weights: loaded once, put to sleep, woken, pickled.

    A model that comes from a checkpoint pickles as the checkpoint's name and loads again, at first use, wherever it
    arrives. A model that was built in memory pickles whole; what was computed or compiled for it does not.

    Args:
        source: a checkpoint, or a model and its tokenizer.
        auto_class: name of the class that loads the checkpoint: one of transformers, such as
            ``"AutoModelForCausalLM"``, or one with its module, such as ``"package.module.Class"``.
        assemble: model, tokenizer → what is built around them; picklable.
        before_sleep: frees what can be computed again.

    Attributes:
        parts: what `assemble` made; None until it is needed.
    """

    def __init__(
        self,
        source: Checkpoint | tuple[PreTrainedModel, PreTrainedTokenizerBase],
        auto_class: str,
        assemble: Callable[[PreTrainedModel, PreTrainedTokenizerBase], Parts],
        before_sleep: Callable[[Parts], None] | None = None,
    ):
        self.source = source
        self.parts: Parts | None = None
        self._auto_class = auto_class
        self._assemble = assemble
        self._before_sleep = before_sleep
        self._awake_device: torch.device | None = None  # where a sleeping model belongs; None while it is awake

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "parts": None, "_awake_device": None}

    @property
    def checkpoint(self) -> Checkpoint | None:
        """Where the model comes from; None if it was built in memory."""
        return self.source if isinstance(self.source, Checkpoint) else None

    def load(self) -> Parts:
        """The parts, loaded now if they are not there yet.

        Raises:
            OSError, ValueError: as `Checkpoint.load` and `assemble`.
        """
        if (parts := self.parts) is not None:  # without the lock, which another thread may hold while it judges
            return parts
        with MODEL_LOCK:
            if self.parts is None:
                if isinstance(self.source, Checkpoint):
                    module, _, name = self._auto_class.rpartition(".")
                    model, tokenizer = self.source.load(getattr(import_module(module or "transformers"), name))
                else:
                    model, tokenizer = self.source
                self.parts = self._assembled(model, tokenizer)
            return self.parts

    def _assembled(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Parts:
        """What is built around the model; an error that only says what is wrong says of which checkpoint, too."""
        try:
            return self._assemble(model, tokenizer)
        except ValueError as error:
            if self.checkpoint is None or type(error) is not ValueError or self.checkpoint.name in str(error):
                raise
            raise ValueError(f"{self.checkpoint.name}: {error}") from error

    def sleep(self) -> None:
        """Give the accelerator's memory back; a model that is not loaded has nothing to give."""
        with MODEL_LOCK:
            if self.parts is None or self._awake_device is not None:
                return
            if self._before_sleep is not None:
                self._before_sleep(self.parts)
            self._awake_device = move_to_cpu(self.parts.model)

    def wake(self) -> None:
        """Bring the weights back to where they were before `sleep`."""
        with MODEL_LOCK:
            if self.parts is not None and self._awake_device is not None:
                move_back(self.parts.model, self._awake_device)
                self._awake_device = None
