"""Whether a run changed, by its best judge, and when: the step at which half of the change in safety was reached."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import NamedTuple

from guard_reward.report.cells import Estimate, estimate
from guard_reward.report.curves import Curve
from guard_reward.report.log import kind_of
from guard_reward.report.run import Measurement, Run

__all__ = [
    "SAFETY",
    "Pair",
    "before_and_after",
    "clearly_differ",
    "half_change_step",
    "opposite",
    "pairs_of",
    "series",
    "time_of",
]

_SIGNIFICANT = 0.05
SAFETY = ("safety_rate", "safe_rate")
"""Measures of safety: over harmful prompts, and over all."""

_LOGGED = {"safety_rate": "safe_rate/harmful", "safe_rate": "safe_rate"}
_MIN_CHANGE = 0.05


class Pair(NamedTuple):
    """A policy earlier and later, as one judge measured it; either may be missing.

    ``before`` is the judge's first measurement: before the training, or at the step of a checkpoint.
    """

    before: Measurement | None
    after: Measurement | None

    @property
    def judged(self) -> Measurement:
        """The one that there is; the later one if there are both."""
        found = self.after or self.before
        assert found is not None
        return found

    @property
    def ends(self) -> list[Measurement]:
        """Those that there are."""
        return [one for one in self if one is not None]

    @property
    def safety(self) -> str | None:
        """The metric of safety that both ends have: over harmful prompts rather than over all; None without one."""
        return next((key for key in SAFETY if all(key in one.values for one in self.ends)), None)

    def has(self, metrics: Collection[str]) -> bool:
        """Whether both ends are there and have one of the metrics in common."""
        return None not in self and any(all(key in one.values for one in self.ends) for key in metrics)

    def is_clear(self, metric: str) -> bool | None:
        """Whether a metric has clearly changed; None if that is unknown."""
        if self.before is None or self.after is None:
            return None
        old, new = self.before.values.get(metric), self.after.values.get(metric)
        return clearly_differ(old, new, self.after.p_values.get(metric))

    def rise(self, metric: str) -> float:
        """By how much a metric has risen that both ends have."""
        assert self.before is not None
        assert self.after is not None
        return self.after.values[metric].value - self.before.values[metric].value


def before_and_after(run: Run, metrics: Collection[str] = SAFETY) -> Pair | None:
    """The best judged pair of a run's measurements: of an independent judge before one that gave the reward.

    A pair is better than an end alone, whoever judged. None if there is no measurement with one of the metrics.
    """
    worth = {True: 2, None: 1, False: 0}

    def rank(pair: Pair) -> tuple[bool, int, bool]:
        is_end = pair.after is not None and pair.after.stage == "after"
        return pair.has(metrics), worth[pair.judged.independent] - pair.judged.is_relative, is_end

    return max(pairs_of(run.measurements, metrics), key=rank, default=None)


def pairs_of(measurements: Sequence[Measurement], metrics: Collection[str] = SAFETY) -> list[Pair]:
    """The first and the last measurement by each judge that has one of the metrics.

    Measurements without a place in time, which have other stages than ``before``, ``step N``, ``after``, are in none.
    """
    known = [one for one in measurements if time_of(one) and any(metric in one.values for metric in metrics)]
    pairs = []
    for name in dict.fromkeys(one.judged_by for one in known):
        mine = sorted((one for one in known if one.judged_by == name), key=time_of)
        first, last = mine[0], mine[-1]
        if time_of(first) < time_of(last):
            pair = Pair(first, last)
            # Two ends that have no metric in common say nothing of a change.
            pairs.append(pair if pair.has(metrics) else Pair(None, last))
        else:
            pairs.append(Pair(first, None) if first.stage == "before" else Pair(None, first))
    return pairs


def time_of(measurement: Measurement) -> tuple[int, ...]:
    """Before, then by step, then after; empty for a stage that has no place in time."""
    stage = measurement.stage
    if stage in ("before", "after"):
        return (0, 0) if stage == "before" else (2, 0)
    number = stage.removeprefix("step ").strip()
    return (1, int(number[:15])) if stage.startswith("step ") and number.isascii() and number.isdigit() else ()


def clearly_differ(old: Estimate | None, new: Estimate | None, p_value: float | None = None) -> bool | None:
    """Whether two values differ by more than chance: by the test if there is one, else by their intervals.

    The 95% interval of the difference is made of the two intervals (MOVER, Zou and Donner 2008; for two Wilson
    intervals Newcombe 1998, method 10). That intervals are apart would be a test at about 0.5%, which misses a lot.

    Returns:
        None if that is unknown: a value without an interval.
    """
    if old is None or new is None:
        return None
    if p_value is not None:
        return p_value < _SIGNIFICANT
    if old.low is None or old.high is None or new.low is None or new.high is None:
        return None
    lower, upper = (old, new) if old.value < new.value else (new, old)
    assert lower.high is not None
    assert upper.low is not None
    return upper.value - lower.value > math.hypot(upper.value - upper.low, lower.high - lower.value)


def half_change_step(run: Run) -> int | None:
    """The first step at which the smoothed safe rate has gone half the way from the run's start to its end.

    The rate is that of training, over harmful prompts if they are labelled. See `Curve.halfway`.

    Returns:
        The step; None if the rate was not logged, has not changed clearly, or if the run's judge says that safety has
        not changed, or the other way.
    """
    pair = before_and_after(run)
    curve, _ = _logged(run, pair)
    step = curve.halfway(_MIN_CHANGE)
    if step is None:
        return None
    if pair is not None and pair.safety and pair.has(SAFETY):
        start, end = curve.ends
        if pair.is_clear(pair.safety) is False or pair.rise(pair.safety) * (end - start) <= 0:
            return None
    return int(step)


def opposite(run: Run, pair: Pair) -> tuple[float, float] | None:
    """Where the training's safe rate began and ended, if it moved the other way than a judge says; None otherwise.

    Args:
        run: with the log.
        pair: of a judge that is not the reward's guard.
    """
    if pair.judged.independent is False or not pair.safety or not pair.has(SAFETY):
        return None
    curve, key = _logged(run, pair)
    if key != pair.safety or curve.halfway(_MIN_CHANGE) is None:
        return None
    start, end = curve.ends
    return (start, end) if pair.rise(pair.safety) * (end - start) < 0 else None


def _logged(run: Run, pair: Pair | None) -> tuple[Curve, str]:
    """The safe rate of training under the measure that the judge has, else under any."""
    wanted = [pair.safety] if pair is not None and pair.safety else []
    for key in (*wanted, *SAFETY):
        if found := series(run, _LOGGED[key]):
            return Curve([step for step, _ in found], [rate for _, rate in found]), key
    return Curve([], []), ""


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
