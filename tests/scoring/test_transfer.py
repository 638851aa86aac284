"""What goes to a GPU goes from pinned memory, without a wait."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from guard_reward.scoring.transfer import to_device


@pytest.mark.parametrize(
    "array",
    [np.arange(6).reshape(2, 3), np.eye(2, dtype=bool), np.empty(0, dtype=np.int64)],
    ids=["ids", "mask", "none"],
)
def test_an_array_on_the_host(array):
    found = to_device(array, torch.device("cpu"))
    assert found.shape == array.shape
    assert found.tolist() == array.tolist()


def test_a_gpu_is_not_waited_for(monkeypatch):
    calls = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: calls.append("pinned") or tensor)
    monkeypatch.setattr(
        torch.Tensor, "to", lambda tensor, *target, **options: calls.append((target, options)) or tensor
    )
    gpu = torch.device("cuda", 0)
    assert to_device(np.arange(3), gpu).tolist() == [0, 1, 2]
    assert calls == ["pinned", ((gpu,), {"non_blocking": True})]
