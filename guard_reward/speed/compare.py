"""Variants take turns on the same rows, new ones each round."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from guard_reward.speed.roofline import Roofline, matmul_rate, synchronize
from guard_reward.speed.variants import Rows

__all__ = ["OutputMismatch", "Result", "Variant", "compare"]


class OutputMismatch(ValueError):
    """The variants did not give the same answers, so their speeds cannot be compared."""


@dataclass(slots=True)
class Variant:
    """A way to get verdicts.

    Attributes:
        name: for the table.
        answer: rows → answers, without the end token.
        most_rows: how many of a round's rows it gets; a slow one needs few to be measured.
        passes: forward passes a verdict took so far, on average; None where the variant does not know.
        is_elsewhere: it runs in another process, whose memory is not seen here.
    """

    name: str
    answer: Callable[[Rows], list[list[int]]]
    most_rows: int | None = None
    passes: Callable[[], float] | None = None
    is_elsewhere: bool = False


@dataclass(slots=True)
class Result:
    """What a variant did in all rounds.

    Attributes:
        name: of the variant.
        seconds_per_row: one number a round.
        peak_memory_bytes: the most memory seen in any round: allocated on a GPU, resident on a CPU; None where it
            cannot be seen.
        floor_fractions: time of the floor divided by the time it took, one number a round.
        passes_per_verdict: forward passes, where the variant counts them.
    """

    name: str
    seconds_per_row: list[float] = field(default_factory=list)
    peak_memory_bytes: int | None = None
    floor_fractions: list[float] = field(default_factory=list)
    passes_per_verdict: float | None = None

    @property
    def rollouts_per_second(self) -> float:
        """The median round's."""
        return 1 / statistics.median(self.seconds_per_row)

    @property
    def floor_fraction(self) -> float:
        """The median round's."""
        return statistics.median(self.floor_fractions)

    def ratio_to(self, other: Result) -> float:
        """How many times faster than `other`: the median of the rounds' ratios."""
        pairs = zip(other.seconds_per_row, self.seconds_per_row, strict=True)
        return statistics.median(theirs / ours for theirs, ours in pairs)

    def numbers(self, base: Result) -> dict[str, Any]:
        """For a table; the ratio is to `base` where that is the model card's loop."""
        return {
            "variant": self.name,
            "rollouts_per_second": self.rollouts_per_second,
            "ratio_to_model_card": self.ratio_to(base) if base.name == "model_card" else None,
            "floor_fraction": self.floor_fraction,
            "passes_per_verdict": self.passes_per_verdict,
            "peak_memory_bytes": self.peak_memory_bytes,
        }


def compare(
    variants: Sequence[Variant],
    work: Callable[[int], Rows],
    *,
    rounds: int,
    floor: Roofline,
    preamble: int,
    device: torch.device,
    dtype: torch.dtype,
    on_step: Callable[[str], None] = lambda text: None,
) -> list[Result]:
    """Measure `variants`, taking turns.

    Args:
        variants: the first one's answers are the reference.
        work: round number → its rows; -1 is the trial before the first round, which warms up and is not timed.
        rounds: how often each takes its turn.
        floor: of the model.
        preamble: tokens with which all rows begin.
        device: of the model.
        dtype: of the model.
        on_step: told what happens next.

    Raises:
        OutputMismatch: two variants gave a row different answers; nothing is timed if they do so in the trial.
    """
    results = [Result(variant.name) for variant in variants]
    for number in range(-1, rounds):
        rows = work(number)
        answers: dict[int, list[int]] = {}
        for variant, result in zip(variants, results, strict=True):
            on_step(f"{'trial' if number < 0 else f'round {number + 1} of {rounds}'}: {variant.name}")
            mine = rows[: variant.most_rows]
            rate = matmul_rate(device, dtype)  # just before: the rates of shared machines change within seconds
            with _peak_memory(device) as peak:
                started = time.perf_counter()
                given = variant.answer(mine)
                synchronize(device)
                seconds = time.perf_counter() - started
            for index, answer in enumerate(given):
                if answers.setdefault(index, answer) != answer:
                    raise OutputMismatch(
                        f"{variant.name} answers row {index} with {answer}, an earlier variant with {answers[index]}; "
                        "no speeds are given. In low precision two nearly equal logits may swap: try float32"
                    )
            if number >= 0:
                result.seconds_per_row.append(seconds / len(mine))
                operations = floor.operations(mine, given, preamble)
                result.floor_fractions.append(operations / rate / seconds)
                if not variant.is_elsewhere:
                    result.peak_memory_bytes = max(result.peak_memory_bytes or 0, peak[0])
                result.passes_per_verdict = variant.passes() if variant.passes else None
    return results


@contextmanager
def _peak_memory(device: torch.device) -> Iterator[list[int]]:
    """The most memory in use while inside, in bytes, as a list of one number that is there on leaving."""
    peak = [0]
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield peak
        peak[0] = torch.cuda.max_memory_allocated(device)
        return
    import psutil

    process, done = psutil.Process(), threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            peak[0] = max(peak[0], process.memory_info().rss)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()
        peak[0] = max(peak[0], process.memory_info().rss)
