"""How long the guard needs to give the GPU's memory back, and to come back itself."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import torch

from gpu_parts.bench import Bench, say
from gpu_parts.rows import Row
from gpu_parts.text import conversations
from guard_reward.guards import TransformersGuard


def settings(options: argparse.Namespace, shape: str) -> list[Any]:
    """One."""
    return ["guard.sleep(), guard.wake()"]


def measure(bench: Bench, shape: str, setting: Any) -> Iterator[Row]:
    """A row for sleeping and one for waking; the verdicts before and after must be equal."""
    if not bench.is_gpu:
        reason = "on a CPU the weights stay where they are"
        yield Row(part="sleep", shape=shape, setting=setting, status="n/a", result=reason)
        return
    guard, rows = bench.guard(shape), conversations(Random(0), prompts=2, group_size=4, tokens=128)
    weights = sum(parameter.numel() * parameter.element_size() for parameter in guard.model.parameters())
    before = _answers(guard, rows)
    slept, woken, freed = [], [], 0
    say("  sleep and wake, three times")
    for _ in range(3):
        held = torch.cuda.memory_allocated(bench.device)
        slept.append(_seconds(bench, guard.sleep))
        freed = held - torch.cuda.memory_allocated(bench.device)
        woken.append(_seconds(bench, guard.wake))
    if _answers(guard, rows) != before:
        raise RuntimeError("the guard's verdicts are others after sleep and wake")
    for variant, seconds in (("sleep", slept), ("wake", woken)):
        later = min(seconds[1:])
        yield Row(
            part="sleep",
            shape=shape,
            setting=setting,
            variant=variant,
            result=f"{later:.2f} s, {weights / later / 1e9:.1f} GB/s (the first time {seconds[0]:.2f} s)",
            numbers={"seconds": seconds, "weight_bytes": weights, "freed_bytes": freed},
        )


def _answers(guard: TransformersGuard, rows: list[Any]) -> list[str]:
    return [verdict.text for verdict in guard.moderate(rows)]


def _seconds(bench: Bench, action: Callable[[], None]) -> float:
    bench.synchronize()
    started = time.perf_counter()
    action()
    bench.synchronize()
    return time.perf_counter() - started
