"""A trainer's log lines as curves, small enough for a browser."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, pvariance
from typing import Any

from guard_reward.log_lines import is_total
from guard_reward.report.cells import estimate
from guard_reward.report.log import dataset_of

__all__ = ["MAX_POINTS", "Curve", "find", "read_curves", "reduced", "smoothed"]

MAX_POINTS = 1000
"""A chart is not wider in pixels, so more points would only make it slow."""

_MIN_POINTS = 5  # below them nothing is said about time

# The independent judge of evaluations; what it says is never a run's own curve.
_JUDGE = "judge"


@dataclass(frozen=True, slots=True)
class Curve:
    """A metric over training.

    Attributes:
        steps: of the trainer, rising.
        values: at the steps; means if the curve was reduced.
        low, high: the extremes around each step; empty if the curve was not reduced.
    """

    steps: Sequence[float]
    values: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()

    @property
    def ends(self) -> tuple[float, float]:
        """Means of the first and of the last tenth, at least of two values."""
        count = self._tenth
        return fmean(self.values[:count]), fmean(self.values[-count:])

    def halfway(self, least: float) -> float | None:
        """The first step at which the smoothed curve has made half of the way between its ends.

        Args:
            least: change that counts.

        Returns:
            None if the curve has not changed clearly: by `least`, and by twice the standard error of the difference.
        """
        if len(self.values) < _MIN_POINTS:
            return None
        start, end = self.ends
        count = self._tenth
        spread = pvariance(self.values[:count]) + pvariance(self.values[-count:])
        if abs(end - start) < max(least, 2 * math.sqrt(spread / (count - 1))):
            return None
        half, sign = (start + end) / 2, 1 if end > start else -1
        means = zip(self.steps, _means(self.values), strict=False)
        return next((step for step, value in means if sign * (value - half) >= 0), None)

    @property
    def _tenth(self) -> int:
        return max(2, round(len(self.values) / 10))


def smoothed(values: Sequence[float]) -> list[float]:
    """Centred means over a tenth of the values, at least three of them; fewer at both ends.

    >>> smoothed([0.0, 3.0, 0.0, 3.0])
    [1.5, 1.0, 2.0, 1.5]
    """
    return list(_means(values))


def _means(values: Sequence[float]) -> Iterator[float]:
    reach = max(1, round(len(values) / 10) // 2)
    # Not by differences of running sums: behind one huge value they would have lost the small ones.
    windows = (values[max(0, at - reach) : at + reach + 1] for at in range(len(values)))
    return (sum(window) / len(window) for window in windows)


def read_curves(log: Sequence[Mapping[str, Any]]) -> dict[str, Curve]:
    """Every metric's finite values by step; totals (`guard_reward.log_lines`) are left out.

    With several evaluation datasets a metric has a curve of each: ``eval_judge/safe_rate (xstest)``.

    >>> read_curves([{"step": 2, "kl": 0.2}, {"step": 1, "kl": float("nan"), "reward": 1}])["kl"].steps
    [2.0]
    """
    by_metric: dict[str, dict[float, float]] = {}
    for position, line in enumerate(log):
        step = _number(line.get("step", position))
        if step is None:
            continue
        dataset = dataset_of(line)
        for name, cell in line.items():
            value = _number(cell)
            if value is not None:
                is_shared = dataset and not str(name).startswith(f"eval_{dataset}_")
                by_metric.setdefault(f"{name} ({dataset})" if is_shared else str(name), {})[step] = value
    curves = {}
    for name, points in by_metric.items():
        if name.partition(" (")[0] not in ("step", "epoch") and not is_total(name):
            steps = sorted(points)  # a resumed run repeats steps
            curves[name] = Curve(steps, [points[step] for step in steps])
    return curves


def find(curves: Iterable[str], metric: str, *, evaluation: bool = False, judge: bool = False) -> str | None:
    """Under which name a run has a metric: its own, or behind a reward's (``guard/safe_rate``).

    Args:
        curves: the names there are.
        metric: such as ``safe_rate``.
        evaluation: look among those of evaluations, ``eval_…``.
        judge: look for the judge's, ``eval_judge/…``.
    """
    start = "eval_" if evaluation or judge else ""
    for name in curves:
        if not name.startswith(start) or (not start and name.startswith("eval_")):
            continue
        bare = name.removeprefix(start)
        reward, slash, rest = bare.partition("/")
        by_judge = bool(slash) and reward == _JUDGE
        if (bare == metric or rest == metric) and by_judge == judge:
            return name
    return None


def reduced(curve: Curve, points: int = MAX_POINTS) -> Curve:
    """At most so many points: the mean of each span of steps, with its extremes, so that no spike vanishes."""
    count = len(curve.steps)
    if count <= points:
        return curve
    bounds = [count * index // points for index in range(points + 1)]
    spans = [slice(start, end) for start, end in pairwise(bounds)]
    return Curve(
        [curve.steps[(span.start + span.stop - 1) // 2] for span in spans],
        [fmean(curve.values[span]) for span in spans],
        [min(curve.values[span]) for span in spans],
        [max(curve.values[span]) for span in spans],
    )


def _number(cell: Any) -> float | None:
    if type(cell) is float or type(cell) is int:  # nearly always; a log may have a million
        return float(cell) if math.isfinite(cell) else None
    found = estimate(cell)
    return found.value if found else None
