"""From the host to the device without a wait."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["to_device"]


def to_device(array: NDArray[Any], device: torch.device) -> Tensor:
    """An array as a tensor on the device.

    A GPU takes it from pinned memory. From other memory the copy would wait until all passes before it are done.
    """
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
