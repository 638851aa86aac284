"""When a run changed: the step at which half of the change in safety was reached."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, pvariance

from guard_reward.report.cells import estimate
from guard_reward.report.log import kind_of
from guard_reward.report.run import Run

__all__ = ["half_change_step", "series", "smoothed"]

_SAFE = ("safe_rate/harmful", "safe_rate")
_PART = 0.1  # of the points: what counts as the start and as the end
_MIN_POINTS = 5
_MIN_CHANGE = 0.05


def half_change_step(run: Run) -> int | None:
    """The first step at which the smoothed safe rate has gone half the way from the run's start to its end.

    The rate is that of training, over harmful prompts if they are labelled. Start and end are the means of the first
    and the last tenth of the log lines.

    Returns:
        The step; None if the rate was not logged, or has not changed clearly: by 5 points, and by twice the standard
        error of the difference.
    """
    pairs = next((found for metric in _SAFE if (found := series(run, metric))), [])
    if len(pairs) < _MIN_POINTS:
        return None
    values = [value for _, value in pairs]
    count = max(2, round(len(values) * _PART))
    first, last = values[:count], values[-count:]
    start, end = fmean(first), fmean(last)
    error = math.sqrt((pvariance(first) + pvariance(last)) / (count - 1))
    if abs(end - start) < max(_MIN_CHANGE, 2 * error):
        return None
    half = (start + end) / 2
    rising = end > start
    crossed = (at for at, value in enumerate(smoothed(values)) if (value >= half if rising else value <= half))
    at = next(crossed, None)
    return None if at is None else pairs[at][0]


def series(run: Run, metric: str) -> list[tuple[int, float]]:
    """Steps and finite values of a metric of training, under its own name or behind a reward's prefix."""
    found = []
    for line in run.log:
        if kind_of(line) != "training":
            continue
        value = next((estimate(cell) for name, cell in line.items() if _is(name, metric)), None)
        if value is not None:
            found.append((int(line["step"]), value.value))
    return found


def _is(name: str, metric: str) -> bool:
    """``guard/safe_rate`` is ``safe_rate``; ``guard/thinking/safe_rate`` and ``guard/prompt/safe_rate`` are others."""
    prefix = name.removesuffix(metric)
    return name == metric or (prefix != name and prefix.endswith("/") and prefix.count("/") == 1)


def smoothed(values: Sequence[float]) -> list[float]:
    """Centred means over a tenth of the values, at least three of them; fewer at both ends.

    >>> smoothed([0.0, 3.0, 0.0, 3.0])
    [1.5, 1.0, 2.0, 1.5]
    """
    reach = max(1, round(len(values) * _PART) // 2)
    sums = [0.0]
    for value in values:
        sums.append(sums[-1] + value)
    windows = ((max(0, at - reach), min(len(values), at + reach + 1)) for at in range(len(values)))
    return [(sums[end] - sums[begin]) / (end - begin) for begin, end in windows]
