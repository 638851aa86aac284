"""Variants take turns on the same rows; each round has new rows."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from guard_reward.errors import UserError
from guard_reward.speed.roofline import Roofline, matmul_rate, synchronize
from guard_reward.speed.variants import Rows

__all__ = ["OutputMismatch", "Result", "Variant", "compare_speeds"]


class OutputMismatch(UserError):
    """The variants did not give the same answers, so their speeds cannot be compared."""


@dataclass(slots=True)
class Variant:
    """A way to get verdicts.

    Attributes:
        name: for the table.
        answer: rows → answers, without the end token.
        most_rows: how many of a round's rows it gets; a slow variant needs only a few.
        passes: mean forward passes per verdict so far; None if the variant does not count them.
        is_elsewhere: it runs in another process, whose memory cannot be measured here.
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
        seconds_per_row: one number per round.
        peak_memory_bytes: the most memory seen in any round: allocated on a GPU, resident on a CPU; None if it
            cannot be measured.
        roofline_fractions: least possible time divided by the time it took, one number per round.
        passes_per_verdict: mean forward passes; None if the variant does not count them.
    """

    name: str
    seconds_per_row: list[float] = field(default_factory=list)
    peak_memory_bytes: int | None = None
    roofline_fractions: list[float] = field(default_factory=list)
    passes_per_verdict: float | None = None

    @property
    def rollouts_per_second(self) -> float:
        """Of the median round."""
        return 1 / statistics.median(self.seconds_per_row)

    @property
    def roofline_fraction(self) -> float:
        """Of the median round."""
        return statistics.median(self.roofline_fractions)

    def ratio_to(self, other: Result) -> float:
        """How many times faster than `other`: the median of the rounds' ratios."""
        pairs = zip(other.seconds_per_row, self.seconds_per_row, strict=True)
        return statistics.median(theirs / ours for theirs, ours in pairs)

    def numbers(self, base: Result) -> dict[str, Any]:
        """For a table. The ratio is to `base` if `base` is the model card's loop, else None."""
        return {
            "variant": self.name,
            "rollouts_per_second": self.rollouts_per_second,
            "ratio_to_model_card": self.ratio_to(base) if base.name == "model_card" else None,
            "floor_fraction": self.roofline_fraction,
            "passes_per_verdict": self.passes_per_verdict,
            "peak_memory_bytes": self.peak_memory_bytes,
        }


def compare_speeds(
    variants: Sequence[Variant],
    work: Callable[[int], Rows],
    *,
    rounds: int,
    roofline: Roofline,
    preamble: int,
    device: torch.device,
    dtype: torch.dtype,
    rate: float | None = None,
    on_step: Callable[[str], None] = lambda text: None,
) -> list[Result]:
    """Measure `variants`, taking turns.

    Args:
        variants: the first one's answers are the reference.
        work: round number → its rows; -1 is the warm-up before the first round, which is not timed.
        rounds: how often each variant runs.
        roofline: of the model.
        preamble: tokens with which all rows begin.
        device: of the model.
        dtype: of the model.
        rate: operations per second of the device, if it does not change; by default measured before each turn, which
            takes about a second.
        on_step: called with what happens next.

    Raises:
        OutputMismatch: two variants gave a row different answers; in the warm-up, before anything is timed, or later.
    """
    results = [Result(variant.name) for variant in variants]
    for number in range(-1, rounds):
        rows = work(number)
        answers: dict[int, list[int]] = {}
        for variant, result in zip(variants, results, strict=True):
            on_step(f"{'warm-up' if number < 0 else f'round {number + 1} of {rounds}'}: {variant.name}")
            mine = rows[: variant.most_rows]
            # Again for each: the rate of a shared machine changes within seconds.
            rate_now = matmul_rate(device, dtype) if rate is None else rate
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
                operations = roofline.operations(mine, given, preamble)
                result.roofline_fractions.append(operations / rate_now / seconds)
                if not variant.is_elsewhere:
                    result.peak_memory_bytes = max(result.peak_memory_bytes or 0, peak[0])
                result.passes_per_verdict = variant.passes() if variant.passes else None
    return results


@contextmanager
def _peak_memory(device: torch.device) -> Iterator[list[int]]:
    """Yields a list with one number: the most memory in use inside, in bytes, known on leaving."""
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
