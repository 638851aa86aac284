"""How long the GPU waits for the host in a whole `moderate`: conversations in, verdicts out.

The GPU's work is the time in which a kernel or a copy runs, by ``torch.profiler``; the wall time is that of the same
call without the profiler.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

import torch
from shaped_tokenizer import PREFIX_TOKENS

from gpu_parts.bench import Bench, say
from gpu_parts.measures import busy_seconds, idle_share, mfu
from gpu_parts.rows import Row
from gpu_parts.text import conversations
from guard_reward.guards import TransformersGuard
from guard_reward.speed import Roofline
from guard_reward.verdict import Verdict


@dataclass(frozen=True, slots=True)
class _Setting:
    tokens: int
    group_size: int

    def __str__(self) -> str:
        return f"{self.tokens} tokens, G = {self.group_size}, half unsafe"


def settings(options: argparse.Namespace, shape: str) -> list[Any]:
    """Lengths of completions."""
    return [_Setting(tokens, options.groups[0]) for tokens in options.completions]


def measure(bench: Bench, shape: str, setting: Any) -> Iterator[Row]:
    """One row."""
    guard, options = bench.guard(shape), bench.options
    prompts = max(1, options.round_tokens // (setting.group_size * setting.tokens))

    def work(number: int) -> list[list[dict[str, str]]]:
        rng = Random(f"idle {shape} {setting} {number}")
        return conversations(rng, prompts=prompts, group_size=setting.group_size, tokens=setting.tokens)

    say(f"  moderate, {prompts * setting.group_size} conversations")
    guard.moderate(work(-1))  # compiles, and allocates memory
    bench.reset_peak_memory()
    before, walls, verdicts = guard.usage, [], []
    for number in range(options.rounds):
        rows = work(number)
        wall, verdicts = _timed(bench, guard, rows)
        walls.append(wall)
    passes, wall = guard.usage.since(before).passes_per_verdict, statistics.median(walls)
    operations = _operations(guard, rows, verdicts)
    busy = _busy(bench, guard, rows)
    idle = None if busy is None else idle_share(busy, wall)
    yield Row(
        part="idle",
        shape=shape,
        setting=str(setting),
        variant=f"moderate, {bench.runner}",
        rollouts_per_second=len(rows) / wall,
        roofline_fraction=operations / bench.rate / wall,
        mfu=mfu(operations, wall, bench.peak),
        idle_share=idle,
        peak_memory_bytes=bench.peak_memory(),
        passes_per_verdict=passes,
        result=f"{wall:.3f} s, " + (f"{busy:.3f} s of kernels" if busy is not None else _no_kernels(bench)),
        numbers={"seconds": walls, "kernel_seconds": busy, "conversations": len(rows)},
    )


def _no_kernels(bench: Bench) -> str:
    return "GPU idle n/a: " + ("the profiler saw no kernels" if bench.is_gpu else "no GPU")


def _timed(bench: Bench, guard: TransformersGuard, rows: list[Any]) -> tuple[float, list[Verdict]]:
    bench.synchronize()
    started = time.perf_counter()
    found = guard.moderate(rows)
    bench.synchronize()
    seconds = time.perf_counter() - started
    verdicts = [verdict for verdict in found if isinstance(verdict, Verdict)]
    if len(verdicts) < len(rows):
        raise RuntimeError(f"{len(rows) - len(verdicts)} of {len(rows)} conversations were not judged")
    return seconds, verdicts


def _operations(guard: TransformersGuard, rows: list[Any], verdicts: list[Verdict]) -> float:
    """The least arithmetic for these conversations."""
    answers = [guard.tokenizer.encode(verdict.text, add_special_tokens=False) for verdict in verdicts]
    return Roofline.of(guard.model).operations([guard.encode(row) for row in rows], answers, PREFIX_TOKENS)


def _busy(bench: Bench, guard: TransformersGuard, rows: list[Any]) -> float | None:
    """Seconds in which the GPU worked; None if there is no GPU, or the profiler sees no kernels on it."""
    if not bench.is_gpu:
        return None
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        guard.moderate(rows)
        bench.synchronize()
    spans = [
        (event.time_range.start / 1e6, event.time_range.end / 1e6)  # in microseconds
        for event in profile.events()
        if event.device_type == torch.autograd.DeviceType.CUDA and not getattr(event, "is_user_annotation", False)
    ]
    return busy_seconds(spans) or None
