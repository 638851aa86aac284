"""Number formats that a CPU computes slowly.

A CPU without instructions for bfloat16 or float16 needs longer for a matrix product in them than in float32: measured
were 2 times (AVX-512, which converts) to 100 times (AVX2). An accelerator is fast in both.
"""

from __future__ import annotations

import logging
import platform

import torch

__all__ = ["is_slow", "warn_if_slow"]

logger = logging.getLogger(__name__)
_warned: set[torch.dtype] = set()


def is_slow(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether `device` is a CPU without instructions for `dtype`.

    It depends on the processor alone and not on a measurement, so that the same machine always gives the same answer.
    """
    return device.type == "cpu" and dtype in (torch.bfloat16, torch.float16) and not _has_instructions(dtype)


def _has_instructions(dtype: torch.dtype) -> bool:
    short = "bf16" if dtype == torch.bfloat16 else "fp16"
    if not _flag(torch.ops.mkldnn, f"_is_mkldnn_{short}_supported"):
        return False  # PyTorch then has nothing but a plain loop
    if short == "bf16" and platform.machine().lower() in ("x86_64", "amd64"):
        # Here PyTorch says yes to every AVX-512, but without these two the library converts to float32 and back.
        return _flag(torch.cpu, "_is_avx512_bf16_supported") or _flag(torch.cpu, "_is_amx_tile_supported")
    return True


def _flag(source: object, name: str) -> bool:
    """One of PyTorch's flags; no if this version, or a build without oneDNN, does not have it."""
    return bool(getattr(source, name, bool)())


def warn_if_slow(name: str, dtype: torch.dtype, device: torch.device) -> None:
    """Log a warning, once per process and format, if `is_slow`.

    Args:
        name: of the model, for the warning.
        dtype: of the model's weights.
        device: where it runs.
    """
    if is_slow(dtype, device) and dtype not in _warned:
        _warned.add(dtype)
        short = str(dtype).removeprefix("torch.")
        logger.warning(
            "%s: this CPU has no instructions for %s, so it is slower than float32, on some CPUs a hundred times; "
            'dtype="float32" gives the same weights in twice the memory',
            name,
            short,
        )
