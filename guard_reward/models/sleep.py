"""Moving a model off its accelerator and back; the lock that every use of a model holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from guard_reward._fork_safe_lock import ForkSafeLock

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["MODEL_LOCK", "move_back", "move_to_cpu"]

# One for all models: changing the class of a model's config and choosing kernels act on the whole process.
MODEL_LOCK = ForkSafeLock()


def move_to_cpu(model: PreTrainedModel) -> torch.device | None:
    """Move the weights to (pinned) CPU memory.

    Returns:
        Where they were; None if that was the CPU already.
    """
    device = model.device
    if device.type == "cpu":
        return None
    model.to("cpu")
    if device.type == "cuda":
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.data = tensor.data.pin_memory()
        torch.cuda.empty_cache()
    return device


def move_back(model: PreTrainedModel, device: torch.device) -> None:
    """Undo `move_to_cpu`."""
    model.to(device, non_blocking=device.type == "cuda")
