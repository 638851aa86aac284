"""Intervals of rates and means that are added up over log lines.

The rollouts of a line are no independent draws: there are several of each prompt, and all are of one state of the
policy. So each line is a cluster, and the variance is that between lines (the linearised variance of a ratio; Cochran,
*Sampling Techniques*, 1977, section 11.7) with Student's t. A rate keeps Wilson's form, with so many rows as would have
that variance, and is never narrower than Wilson's interval of all rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from guard_reward.report.cells import Estimate
from guard_reward.statistics import rate

__all__ = ["mean_over_lines", "rate_over_lines"]

_Z = 1.959964
_T = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622)  # 97.5% points, 1 to 9 degrees

Line = tuple[float, float]
"""A line's sum and the number of rows that it is over."""


def rate_over_lines(lines: Sequence[Line], per_prompt: int | None = None, others: Sequence[Line] = ()) -> Estimate:
    """The rate of all rows of some lines.

    Args:
        lines: with one row at least, together.
        per_prompt: rollouts of each prompt; used for a single line, which has no variance: they count as one row. None
            if that is unknown: then a single line has no interval.
        others: lines that this rate is compared with. A rate near 0 or 1 shows too little of its variance between
            lines, so it takes theirs if that is relatively larger.
    """
    total, count = _sums(lines)
    share = min(max(total / count, 0.0), 1.0)
    error = _error(lines)
    if error is None and per_prompt is None:
        return Estimate(share)
    inflation = float(per_prompt or 1) if error is None else max(_inflation(lines), _inflation(others))
    effective = max(1.0, count / max(1.0, inflation))
    found = rate(share * effective, effective)
    return Estimate(share, found.low, found.high)


def mean_over_lines(lines: Sequence[Line]) -> Estimate:
    """The mean over all rows of some lines; without an interval if there is one line."""
    total, count = _sums(lines)
    error = _error(lines)
    mean = total / count
    return Estimate(mean) if error is None else Estimate(mean, mean - error, mean + error)


def _inflation(lines: Sequence[Line]) -> float:
    """How many times larger the variance is than that of independent rows."""
    total, count = _sums(lines)
    share = min(max(total / count, 0.0), 1.0) if count else 0.0
    error = _error(lines)
    return (error / _Z) ** 2 / (share * (1 - share) / count) if error is not None and 0 < share < 1 else 1.0


def _sums(lines: Sequence[Line]) -> Line:
    return math.fsum(total for total, _ in lines), math.fsum(count for _, count in lines)


def _error(lines: Sequence[Line]) -> float | None:
    """Half of the 95% interval of the ratio of the sums; None for fewer than two lines."""
    known = [(total, count) for total, count in lines if count > 0]
    if len(known) < 2:
        return None
    total, rows = _sums(known)
    squares = math.fsum((added - total / rows * count) ** 2 for added, count in known)
    variance = squares / rows**2 * len(known) / (len(known) - 1)
    return _t(len(known) - 1) * math.sqrt(variance)


def _t(degrees: int) -> float:
    """The 97.5% point of Student's t; from 10 degrees on by its expansion (Fisher and Cornish), exact to 0.001."""
    if degrees <= len(_T):
        return _T[degrees - 1]
    return _Z + (_Z**3 + _Z) / (4 * degrees) + (5 * _Z**5 + 16 * _Z**3 + 3 * _Z) / (96 * degrees**2)
