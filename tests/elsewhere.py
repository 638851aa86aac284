"""A device that is not there, for models that move."""

from __future__ import annotations

from typing import Any

import torch


class Elsewhere:
    """A model's device and where it was sent, without an accelerator."""

    def __init__(self, model: Any):
        self.model, self.device, self.sent = model, torch.device("xpu:0"), []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def to(self, device: Any, **_: Any) -> None:
        self.device = torch.device(device)
        self.sent.append(str(device))
