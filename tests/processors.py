"""Other processors than the one that runs the tests, as far as PyTorch's flags tell them apart."""

from __future__ import annotations

import platform

import pytest
import torch

AVX2 = ("x86_64", ())
AVX512 = ("x86_64", ("bf16",))  # oneDNN says yes, and converts
ZEN4 = ("x86_64", ("bf16", "avx512_bf16"))
SAPPHIRE_RAPIDS = ("AMD64", ("bf16", "fp16", "amx_tile"))
OLD_ARM = ("aarch64", ("fp16",))
GRAVITON3 = ("aarch64", ("bf16", "fp16"))


def pretend(monkeypatch: pytest.MonkeyPatch, processor: tuple[str, tuple[str, ...]]) -> None:
    """Let PyTorch report the flags of `processor`: its architecture and what it has."""
    machine, has = processor
    monkeypatch.setattr(platform, "machine", lambda: machine)
    for source, flag, name in (
        (torch.ops.mkldnn, "_is_mkldnn_bf16_supported", "bf16"),
        (torch.ops.mkldnn, "_is_mkldnn_fp16_supported", "fp16"),
        (torch.cpu, "_is_avx512_bf16_supported", "avx512_bf16"),
        (torch.cpu, "_is_amx_tile_supported", "amx_tile"),
    ):
        monkeypatch.setattr(source, flag, lambda name=name: name in has, raising=False)
