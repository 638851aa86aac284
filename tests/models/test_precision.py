"""Which number formats are slow where: by the processor's flags, on CPUs only; said once."""

from __future__ import annotations

import logging
import os
import subprocess
import sys

import pytest
import torch

from guard_reward.models import precision
from guard_reward.models.precision import is_slow, warn_if_slow
from tests.processors import AVX2, AVX512, GRAVITON3, OLD_ARM, SAPPHIRE_RAPIDS, ZEN4, pretend

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("processor", "bfloat16", "float16"),
    [
        (AVX2, True, True),
        (AVX512, True, True),
        (ZEN4, False, True),
        (SAPPHIRE_RAPIDS, False, False),
        (OLD_ARM, True, False),
        (GRAVITON3, False, False),
    ],
)
def test_by_processor(monkeypatch, processor, bfloat16, float16):
    pretend(monkeypatch, processor)
    assert (is_slow(torch.bfloat16, CPU), is_slow(torch.float16, CPU)) == (bfloat16, float16)
    assert not is_slow(torch.float32, CPU)
    assert not is_slow(torch.float64, CPU)
    for device in ("cuda:1", "mps", "xpu", "meta"):
        assert not is_slow(torch.bfloat16, torch.device(device))


def test_a_build_without_the_flags_is_taken_for_slow(monkeypatch):
    monkeypatch.setattr(torch.ops, "mkldnn", object())
    assert is_slow(torch.bfloat16, CPU)


def test_what_onednn_may_not_use_is_slow():
    """PyTorch's own flags, in a process whose oneDNN is limited to AVX2; on ARM the limit has no effect."""
    code = (
        "import platform, torch; from guard_reward.models.precision import is_slow\n"
        "x86 = platform.machine().lower() in ('x86_64', 'amd64')\n"
        "assert is_slow(torch.bfloat16, torch.device('cpu')) or not x86"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"})


def test_it_is_said_once_with_the_reason(monkeypatch, caplog):
    monkeypatch.setattr(precision, "_warned", set())
    pretend(monkeypatch, AVX2)
    with caplog.at_level(logging.WARNING):
        for dtype in (torch.bfloat16, torch.float32, torch.bfloat16):
            warn_if_slow("my/guard", dtype, CPU)
        [record] = caplog.records
        assert record.getMessage().startswith("my/guard: this CPU has no instructions for bfloat16")
        warn_if_slow("my/guard", torch.float16, CPU)
    assert len(caplog.records) == 2
