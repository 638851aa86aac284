"""What a card can do at best: the published rate of its tensor cores, without sparsity."""

from __future__ import annotations

import re

__all__ = ["published_peak"]

# Pattern of the name that CUDA gives → dense bfloat16 TFLOP/s with float32 accumulation, from NVIDIA's data sheets.
# The first that fits counts. Variants with other clocks (laptop, "D", slices of a card) must not fit.
_TERAFLOPS = {
    r"\bB200\b": 2250.0,
    r"\bH200 NVL\b": 835.5,
    r"\bH200\b": 989.4,
    r"\bH100 PCIe\b": 756.0,
    r"\bH100 NVL\b": 835.5,
    r"\bH[18]00\b": 989.4,
    r"\bH20\b": 148.0,
    r"\bA[18]00\b": 312.0,
    r"\bA40\b": 149.7,
    r"\bA10\b": 125.0,
    r"\bL40S\b": 362.1,
    r"\bL4\b": 121.0,
    r"\bRTX A6000\b": 154.8,
    r"\bRTX 3090$": 71.0,
    r"\bRTX 4090$": 165.2,
    r"\bRTX 5090$": 209.5,
}


def published_peak(name: str) -> float | None:
    """Dense bfloat16 operations per second of a card by its CUDA name; None if the table does not have it.

    >>> published_peak("NVIDIA H100 80GB HBM3")
    989400000000000.0
    >>> published_peak("NVIDIA H100 80GB HBM3 MIG 1g.10gb") is None
    True
    """
    if " MIG " in name:
        return None
    return next((peak * 1e12 for pattern, peak in _TERAFLOPS.items() if re.search(pattern, name)), None)
