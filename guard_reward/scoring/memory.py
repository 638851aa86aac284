"""How many tokens fit into the memory that is free."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["MIN_PASS_TOKENS", "bytes_per_token", "free_memory", "is_out_of_memory", "spare_memory", "token_budget"]

FRACTION = 0.5  # of the free memory; the rest is for what is not counted, and for other users of the device
MAX_ON_ACCELERATOR, MAX_ON_CPU = 65_536, 6_144  # a pass over more tokens gains nothing; on a CPU it loses
MAX_SPARE_ON_CPU = 2**32  # bytes; a container may be allowed less than the machine has free, and dies of more
MIN_BUDGET = 1_024  # with less, a pass is hardly worth its overhead
MIN_PASS_TOKENS = 256  # a long row is not cut into shorter passes, however little memory there was


def bytes_per_token(model: PreTrainedModel) -> int:
    """Bytes per token of a batch: keys and values in all layers, and one layer's intermediate results."""
    config = model.config.get_text_config()
    heads = config.num_attention_heads
    key_value_heads = getattr(config, "num_key_value_heads", None) or heads
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    intermediate = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    stored = 2 * config.num_hidden_layers * key_value_heads * size
    intermediates = 8 * config.hidden_size + 3 * intermediate + 6 * heads * size + 8 * key_value_heads * size
    return int((stored + intermediates) * model.dtype.itemsize)


def free_memory(device: torch.device) -> int:
    """Bytes that are free on `device`; on a GPU, including what PyTorch has reserved and does not use."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))
    import psutil

    return int(psutil.virtual_memory().available)


def spare_memory(device: torch.device) -> int:
    """Bytes that a batch may take for a while beyond its token budget."""
    spare = int(FRACTION * free_memory(device))
    return min(spare, MAX_SPARE_ON_CPU) if device.type == "cpu" else spare


def token_budget(model: PreTrainedModel) -> int:
    """How many tokens a batch may hold now, by the memory that is free on the model's device."""
    most = MAX_ON_CPU if model.device.type == "cpu" else MAX_ON_ACCELERATOR
    return max(min(most, int(FRACTION * free_memory(model.device)) // bytes_per_token(model)), MIN_BUDGET)


def is_out_of_memory(error: Exception) -> bool:
    """CUDA raises its own class; other allocators only give a message."""
    message = str(error).lower()
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(
        part in message for part in ("can't allocate memory", "not enough memory", "out of memory", "alloc_failed")
    )
