"""Thresholds that the first steps teach, and a test over steps that rarely rings by chance.

Every signal is a share of rollouts: those beyond a limit. The rollouts of one prompt are alike, so they are one
observation: a prompt counts once per step, with the share of its rollouts. The first steps give the usual value p0, as
an upper confidence limit (Wilson 1927), because few prompts say little. Later steps are tested with a cumulative sum
(Page 1954) of log likelihood ratios of p1 against p0, the Bernoulli CUSUM of Reynolds and Stoumbos (1999); p1 is p0 and
the smallest rise that matters in practice. So:

- A share below `Chart.limit`, between p0 and p1, lets the sum fall: small honest drift is no alarm, however long it
  lasts.
- Of independent prompts with the share p0, at least e**threshold pass on average before it rings by chance (Lorden
  1971; a share between 0 and 1 adds less than a whole rollout would on average, by convexity). No step counts for more
  than a third of the threshold, so one freak step never rings.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["THRESHOLD", "Chart", "quantile", "upper_limit"]

THRESHOLD = 12.0
"""Of the cumulative sum, in nats: 160,000 independent prompts between false alarms."""

_MOST_PER_STEP = 1 / 3
_LEAST = 0.01  # of p0: with 0 one prompt would decide everything
_MOST = 0.95  # of p0: above it a share has no room to rise


def upper_limit(count: float, total: int, deviations: float = 1.645) -> float:
    """The upper end of Wilson's interval for a share, one-sided at 95% by default.

    >>> round(upper_limit(0, 100), 3), round(upper_limit(10, 100), 3), upper_limit(0, 0)
    (0.026, 0.16, 1.0)
    """
    if total == 0:
        return 1.0
    square = deviations**2 / total
    share = count / total
    spread = deviations * math.sqrt(share * (1 - share) / total + square / (4 * total))
    return min((share + square / 2 + spread) / (1 + square), 1.0)


def quantile(values: Sequence[float], level: float) -> float:
    """The smallest value that at least `level` of the values do not exceed.

    >>> quantile([1.0, 2.0, 3.0, 4.0], 0.5)
    2.0
    """
    ordered = sorted(values)
    return ordered[max(math.ceil(level * len(ordered)) - 1, 0)]


@dataclass(slots=True)
class Chart:
    """A CUSUM chart of a share that should not rise.

    Attributes:
        usual: the share in the first steps.
        p0: its upper confidence limit.
        rise: the smallest rise that matters.
        threshold: of the sum.
        total: the sum now, in nats; at least 0.
        rings: whether it has rung and the sum has not been 0 since.
        since: the step at which the sum last left 0; None while it is 0.
        beyond, prompts: the sum of the prompts' shares since then, and the number of prompts.

    >>> chart = Chart(usual=0.02, p0=0.04, rise=0.15)
    >>> [chart.add(step, beyond=8.0, prompts=16) for step in range(4)]
    [False, False, True, False]
    """

    usual: float
    p0: float
    rise: float
    threshold: float = THRESHOLD
    total: float = 0.0
    rings: bool = False
    since: int | None = None
    beyond: float = 0.0
    prompts: int = 0

    @property
    def limit(self) -> float:
        """The share above which evidence adds up."""
        yes, no = self._weights()
        return -no / (yes - no)

    def add(self, step: int, beyond: float, prompts: int) -> bool:
        """Count the prompts of a step; whether the alarm begins to ring now.

        Args:
            step: of the trainer.
            beyond: the sum, over the prompts, of the share of its rollouts beyond the signal's limit.
            prompts: how many prompts were looked at; nothing happens if there are none.
        """
        if not prompts:
            return False
        yes, no = self._weights()
        before = self.total
        rise = min(beyond * yes + (prompts - beyond) * no, self.threshold * _MOST_PER_STEP)
        self.total = min(max(before + rise, 0.0), 2 * self.threshold)
        if self.total == 0.0:
            self.rings, self.since, self.beyond, self.prompts = False, None, 0.0, 0
            return False
        if self.since is None:
            self.since = step
        self.beyond, self.prompts = self.beyond + beyond, self.prompts + prompts
        begins = self.total >= self.threshold - 1e-9 and not self.rings
        self.rings = self.rings or begins
        return begins

    def _weights(self) -> tuple[float, float]:
        """What a prompt beyond the limit adds, and what another one takes away."""
        if self.p0 > _MOST:
            return 0.0, -1.0
        p0 = max(self.p0, _LEAST)
        p1 = min(p0 + self.rise, (1 + p0) / 2)
        return math.log(p1 / p0), math.log((1 - p1) / (1 - p0))
