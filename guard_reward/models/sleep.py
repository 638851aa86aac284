"""Models that sleep: their weights leave the accelerator while others need its memory, and come back when used."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["MODEL_LOCK", "Sleeper"]

# Replacing a model's attention and choosing kernels act on the whole process.
MODEL_LOCK = threading.RLock()


class Sleeper:
    """What a guard and a reward model have in common: a frozen model that can make room for the policy.

    Whoever inherits says which model that is (`_model_in_memory`), what else takes memory (`_forget`), and calls `wake`
    under ``MODEL_LOCK`` before the model is used.
    """

    _awake_on: torch.device | None = None
    """Where a sleeping model's weights belong; None while it is awake."""

    def _model_in_memory(self) -> PreTrainedModel | None:
        """The model; None where it is not loaded (any more)."""
        raise NotImplementedError

    def _forget(self) -> None:
        """Drop what can be computed again."""

    def sleep(self) -> None:
        """Give the accelerator's memory back: weights move to (pinned) CPU memory, cached keys and values go.

        `wake` or the next use brings them back. On a CPU only the cache is freed. A model that was never used since it
        was pickled has nothing to give back.
        """
        with MODEL_LOCK:
            model = self._model_in_memory()
            if model is None or self._awake_on is not None:
                return
            self._forget()
            device = model.device
            if device.type == "cpu":
                return
            model.to("cpu")
            self._awake_on = device
            if device.type == "cuda":
                for tensor in (*model.parameters(), *model.buffers()):
                    tensor.data = tensor.data.pin_memory()
                torch.cuda.empty_cache()

    def wake(self) -> None:
        """Bring the weights back to where they were before `sleep`."""
        with MODEL_LOCK:
            model = self._model_in_memory()
            if model is not None and self._awake_on is not None:
                model.to(self._awake_on, non_blocking=self._awake_on.type == "cuda")
                self._awake_on = None
