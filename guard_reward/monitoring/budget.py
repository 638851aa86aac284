"""How much a monitor may do: its time stays under a share of the run's, whatever its guard costs on this machine."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

__all__ = ["Budget"]

_FIRST = {"text": 32, "guard": 4}  # rows of a kind whose cost is not known yet
_REMEMBERED = 100  # calls
_SAVED = 20  # calls whose time can be saved up, for a guard that costs more than one of them


class Budget:
    """Time that is earned while the run goes on, and spent per row.

    Args:
        max_share: of the time between two calls, from 0 to 1.
        clock: seconds, for tests.

    >>> now = [0.0]
    >>> budget = Budget(0.1, clock=lambda: now[0]); now[0] += 0.4
    >>> budget.earn(), budget.affordable("guard", 32)               # nothing is known of a row's cost
    (None, 4)
    >>> budget.spend("guard", seconds=0.4, rows=4); now[0] += 9.0
    >>> budget.earn(), budget.affordable("guard", 32), round(budget.share, 3)  # 0.94 s earned, 0.4 s spent
    (None, 5, 0.043)
    """

    def __init__(self, max_share: float, clock: Callable[[], float] = time.perf_counter):
        self.max_share = max_share
        self._clock = clock
        self._last = clock()
        self._credit = 0.0
        self._costs: dict[str, float] = {}  # seconds per row
        self._calls: deque[tuple[float, float]] = deque(maxlen=_REMEMBERED)  # (seconds since the last, spent)

    def restart(self) -> None:
        """Forget what was before: earn from now on."""
        self._last = self._clock()
        self._credit = 0.0

    def earn(self) -> None:
        """A call begins: add the share of the time since the last one."""
        now = self._clock()
        elapsed, self._last = now - self._last, now
        earned = self.max_share * elapsed
        self._calls.append((elapsed, 0.0))
        # By the mean of the calls: a call right behind another one does not forget what was saved.
        usual = sum(seconds for seconds, _ in self._calls) / len(self._calls)
        self._credit = min(self._credit + earned, _SAVED * self.max_share * usual)

    def affordable(self, kind: str, most: int, *, beside: int = 0) -> int:
        """How many rows of a kind (``text`` or ``guard``) can be paid now; 0 while there is a debt.

        Args:
            kind: of rows.
            most: the highest answer.
            beside: rows of ``text`` that have to be paid too.
        """
        if kind not in self._costs:
            return min(most, _FIRST[kind])
        credit = self._credit - beside * self._costs.get("text", 0.0)
        return min(most, max(int(credit / self._costs[kind]), 0))

    def spend(self, kind: str, seconds: float, rows: int) -> None:
        """Pay for rows that were looked at, and learn what a row costs."""
        if self._calls:
            elapsed, spent = self._calls[-1]
            self._calls[-1] = (elapsed, spent + seconds)
        self._credit -= seconds
        if rows:
            cost = max(seconds / rows, 1e-9)
            self._costs[kind] = cost if kind not in self._costs else 0.7 * self._costs[kind] + 0.3 * cost

    @property
    def share(self) -> float:
        """What was spent of the time of the last hundred calls."""
        elapsed, spent = (sum(column) for column in zip(*self._calls, strict=True)) if self._calls else (0.0, 0.0)
        return spent / elapsed if elapsed > 0 else 0.0
