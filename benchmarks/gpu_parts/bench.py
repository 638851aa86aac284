"""What the parts share: the guard that is measured, built once for as many parts as possible, and the clock."""

from __future__ import annotations

import argparse
import gc
import platform
import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

import torch
import transformers
from shaped_guard import shaped_guard
from shaped_tokenizer import shaped_tokenizer

from gpu_parts.peaks import published_peak
from guard_reward.guards import TransformersGuard
from guard_reward.guards.specs.qwen3guard import QWEN3GUARD
from guard_reward.speed.roofline import matmul_rate

__all__ = ["Bench", "Clock", "cast", "say"]

Kept = TypeVar("Kept")


def say(text: str) -> None:
    """Progress, on the standard error."""
    print(text, file=sys.stderr, flush=True)


class Clock:
    """How much of the time limit is left.

    Args:
        minutes: the limit.
        now: seconds of a clock.
    """

    def __init__(self, minutes: float, now: Callable[[], float] = time.monotonic):
        self._now, self._end = now, now() + 60 * minutes

    @property
    def left(self) -> float:
        """Seconds, negative after the limit."""
        return self._end - self._now()


class Bench:
    """One guard at a time, and what is built around it.

    Args:
        options: of the command line.
        clock: which settings may still start.

    Attributes:
        device: that is measured.
        dtype: of the guard.
        rate: operations per second of a plain matrix product, measured.
        peak: operations per second by which MFU is counted.
        peak_source: where `peak` comes from, in words.
        runner: of the guard, in words; known when it is built.
    """

    def __init__(self, options: argparse.Namespace, clock: Clock):
        self.options, self.clock = options, clock
        self.device, self.dtype = torch.device(options.device), getattr(torch, options.dtype)
        torch.set_float32_matmul_precision("highest")  # TF32 is no float32
        self.rate = matmul_rate(self.device, self.dtype)
        published = published_peak(self.device_name) if self.dtype in (torch.bfloat16, torch.float16) else None
        self.peak = published or self.rate
        self.peak_source = "published, dense bfloat16" if published else "measured: a plain matrix product"
        self.runner = ""
        self._shape: str | None = None
        self._kept: dict[str, Any] = {}

    @property
    def is_gpu(self) -> bool:
        """Whether there are kernels and memory of a GPU to measure."""
        return self.device.type == "cuda"

    @property
    def device_name(self) -> str:
        """The card's name, or the processor's."""
        return torch.cuda.get_device_name(self.device) if self.is_gpu else platform.processor() or "CPU"

    def machine(self) -> dict[str, Any]:
        """What the report says about where it was measured."""
        memory = f"{torch.cuda.get_device_properties(self.device).total_memory / 2**30:.0f} GiB" if self.is_gpu else "–"
        return {
            "device": self.device_name,
            "device_memory": memory,
            "cpu_threads": torch.get_num_threads(),
            "dtype": self.options.dtype,
            "matmul_rate_TFLOPs": round(self.rate / 1e12, 3),
            "peak_TFLOPs": round(self.peak / 1e12, 3),
            "peak_is": self.peak_source,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "layers": self.options.layers or "all",
        }

    def model(self, shape: str) -> Any:
        """The guard's causal LM; its weights are numbers of bfloat16 in any dtype, so that casts lose nothing."""
        if self._shape != shape:
            self.release()
            self._shape = shape

        def build() -> Any:
            say(f"building a guard of the {shape} shape, {self.options.dtype}")
            model = shaped_guard(shape, dtype=self.dtype, device=self.device, layers=self.options.layers)
            cast(model, torch.bfloat16)
            cast(model, self.dtype)
            return model

        return self.keep("model", build)

    def guard(self, shape: str) -> TransformersGuard:
        """The guard as a trainer would use it; without compiling if that fails."""
        model, tokenizer = self.model(shape), shaped_tokenizer(is_guard=True)

        def build() -> TransformersGuard:
            if self.options.compile:
                say("compiling the guard")
                self.runner = "compiled"
                try:
                    return TransformersGuard(model, tokenizer, spec=QWEN3GUARD, compile=True)
                except ValueError as error:
                    say(f"  not compiled: {error}")
            self.runner = "not compiled"
            return TransformersGuard(model, tokenizer, spec=QWEN3GUARD)

        return self.keep("guard", build)

    def keep(self, name: str, build: Callable[[], Kept]) -> Kept:
        """What `build` returned the first time; it goes with the model."""
        if name not in self._kept:
            self._kept[name] = build()
        return self._kept[name]

    def release(self) -> None:
        """Give all memory back; the next part builds its guard again."""
        for kept in self._kept.values():
            if hasattr(kept, "close"):
                kept.close()
        self._kept.clear()
        gc.collect()
        if self.is_gpu:
            torch.cuda.empty_cache()

    def synchronize(self) -> None:
        """Wait for what the GPU has been asked to do."""
        if self.is_gpu:
            torch.cuda.synchronize(self.device)

    def reset_peak_memory(self) -> None:
        """Start a new measurement of `peak_memory`."""
        if self.is_gpu:
            torch.cuda.reset_peak_memory_stats(self.device)

    def peak_memory(self) -> int | None:
        """The most bytes that were allocated on the GPU since `reset_peak_memory`; None on a CPU."""
        return torch.cuda.max_memory_allocated(self.device) if self.is_gpu else None


def cast(model: Any, dtype: torch.dtype) -> None:
    """Change the dtype of the weights alone; the rotary embedding's frequencies stay in float32, as when loaded."""
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
