"""Whether a run changed, by its best judge, and when: the step at which half of the change in safety was reached."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from guard_reward.report.cells import Estimate, estimate
from guard_reward.report.curves import Curve
from guard_reward.report.log import kind_of
from guard_reward.report.run import Measurement, Run

__all__ = ["Pair", "before_and_after", "clearly_differ", "half_change_step", "pairs_of", "series"]

_SIGNIFICANT = 0.05
_SAFE = ("safe_rate/harmful", "safe_rate")
_MIN_CHANGE = 0.05


class Pair(NamedTuple):
    """A policy before and after training, as one judge measured it; either may be missing."""

    before: Measurement | None
    after: Measurement | None

    @property
    def judged(self) -> Measurement:
        """The one that there is; the later one if there are both."""
        found = self.after or self.before
        assert found is not None
        return found

    def is_clear(self, metric: str) -> bool | None:
        """Whether a metric has clearly changed; None if that is unknown."""
        if self.before is None or self.after is None:
            return None
        old, new = self.before.values.get(metric), self.after.values.get(metric)
        return clearly_differ(old, new, self.after.p_values.get(metric))


def before_and_after(run: Run, metrics: Collection[str] = ("safety_rate",)) -> Pair | None:
    """The best judged pair of a run's measurements: of an independent judge before one that gave the reward.

    A pair is better than an end alone, whoever judged. None if there is no measurement with one of the metrics.
    """
    worth = {True: 2, None: 1, False: 0}
    pairs = pairs_of(run.measurements, metrics)
    return max(pairs, key=lambda it: (None not in it, worth[it.judged.independent]), default=None)


def pairs_of(measurements: Sequence[Measurement], metrics: Collection[str] = ("safety_rate",)) -> list[Pair]:
    """Before and after by each judge that has one of the metrics."""
    known = [one for one in measurements if any(metric in one.values for metric in metrics)]
    pairs = []
    for name in dict.fromkeys(one.judged_by for one in known):
        mine = [one for one in known if one.judged_by == name]
        before = next((one for one in mine if one.stage == "before"), None)
        after = next((one for one in reversed(mine) if one.stage != "before"), None)
        if before or after:
            pairs.append(Pair(before, after))
    return pairs


def clearly_differ(old: Estimate | None, new: Estimate | None, p_value: float | None = None) -> bool | None:
    """Whether two values differ by more than chance: by the test if there is one, else if their intervals are apart.

    Returns:
        None if that is unknown: a value without an interval.
    """
    if old is None or new is None:
        return None
    if p_value is not None:
        return p_value < _SIGNIFICANT
    if old.low is None or old.high is None or new.low is None or new.high is None:
        return None
    return old.high < new.low or new.high < old.low


def half_change_step(run: Run) -> int | None:
    """The first step at which the smoothed safe rate has gone half the way from the run's start to its end.

    The rate is that of training, over harmful prompts if they are labelled. See `Curve.halfway`.

    Returns:
        The step; None if the rate was not logged, has not changed clearly, or has not by what the run's judge says.
    """
    pair = before_and_after(run)
    if pair is not None and pair.is_clear("safety_rate") is False:
        return None
    logged = next((found for metric in _SAFE if (found := series(run, metric))), [])
    steps = [step for step, _ in logged]
    step = Curve(steps, [rate for _, rate in logged]).halfway(_MIN_CHANGE)
    return None if step is None else int(step)


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
