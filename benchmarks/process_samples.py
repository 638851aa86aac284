"""What a process holds and how fast it is, sampled while it works: is there a leak, does it become slower?"""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psutil
from scipy import stats

__all__ = ["ProcessSamples", "Slope", "slope"]

_BLOCKS = 20


@dataclass(frozen=True, slots=True)
class Slope:
    """A line's slope by least squares, with its 95 % interval."""

    value: float
    low: float
    high: float


def slope(values: Any) -> Slope | None:
    """Growth per sample, or None for fewer than six samples.

    The samples of a process's memory follow one another: neighbours say almost the same, and an interval from each of
    them would be far too narrow. So the line goes through the means of twenty blocks.

    >>> slope([5.0 + 2 * index for index in range(100)])
    Slope(value=2.0, low=2.0, high=2.0)
    """
    count = len(values)
    blocks = min(_BLOCKS, count // 2)
    if blocks < 3:
        return None
    size = count // blocks
    heights = np.asarray(values, dtype=float)[count - blocks * size :].reshape(blocks, size).mean(axis=1)
    fit = stats.linregress(np.arange(blocks) * size, heights)
    half_width = float(stats.t.ppf(0.975, blocks - 2)) * float(fit.stderr)
    value = float(fit.slope)
    return Slope(round(value, 6), round(value - half_width, 6), round(value + half_width, 6))


@dataclass
class ProcessSamples:
    """Resident memory in KiB and time in seconds after each unit of work; open files and threads at both ends."""

    unit: str
    resident: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    files: list[int] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)
    _process: psutil.Process = field(default_factory=psutil.Process, repr=False)

    def add(self) -> None:
        """A unit is done."""
        self.seconds.append(time.perf_counter())
        self.resident.append(self._process.memory_info().rss / 1024)
        self.files.append(self._process.num_fds())
        self.threads.append(self._process.num_threads())

    def summary(self) -> dict[str, Any]:
        """The figures of a part.

        Memory's slope is that over the second half, in KiB per unit: in the first, caches fill. The peak is the
        process's, up to now.
        """
        if not self.seconds:
            raise ValueError(f"no {self.unit} was finished: there is nothing to measure")
        growth = slope(self.resident[len(self.resident) // 2 :])
        tenth = max(2, len(self.seconds) // 10)
        return {
            "unit": self.unit,
            "count": len(self.seconds),
            "seconds": round(self.seconds[-1] - self.seconds[0], 1),
            "slope_kib": None if growth is None else [growth.value, growth.low, growth.high],
            "resident_mib": {"first": _mib(self.resident[0]), "last": _mib(self.resident[-1])},
            "peak_mib": _mib(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss),
            "per_second": {"first": _rate(self.seconds[:tenth]), "last": _rate(self.seconds[-tenth:])},
            "open_files": {"first": self.files[0], "last": self.files[-1]},
            "threads": {"first": self.threads[0], "last": self.threads[-1]},
        }


def _mib(kib: float) -> float:
    return round(kib / 1024, 1)


def _rate(seconds: list[float]) -> float | None:
    return round((len(seconds) - 1) / (seconds[-1] - seconds[0]), 2) if len(seconds) > 1 else None
