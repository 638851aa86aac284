"""Sums and row counts in a trainer's log, and the exact rates that they give.

TRL averages what a reward logs twice: over the rows of one call, on all ranks, and then over the calls of a log line or
an evaluation. So a logged rate is the mean of the calls' rates, in which a call with one judged row counts as much as a
call with a hundred. That mean is not the rate of all rows.

Therefore a reward also logs, exactly once per call and rank, the sum of each metric and the number of rows that it is
over. TRL divides both by the same number (calls times ranks), so their ratio is exact. `exact_rates` divides.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

__all__ = ["exact_rates", "is_total", "over", "rows_name", "sum_name", "totals"]

_OVER = {
    "outcome": "all",
    "injection_attempt_rate": "all",
    "truncation_unknown_rate": "all",
    "truncated_rate": "truncation_known",
    "language_switch_rate": "script_known",
    "helpfulness": "helpfulness_known",
    "raw_helpfulness": "helpfulness_known",
    "worse_form_rate": "judged",
    "lost_form_rate": "all",
    "safe_rate": "judged",
    "controversial_rate": "judged",
    "unsafe_rate": "judged",
    "refusal_rate": "refusal_known",
    "category": "judged",
    "p_unsafe_mean": "p_unsafe_known",
    "thinking": "thinking_judged",
    "prompt": "prompt_judged",
    "shadow": "shadow_judged",
    "first_flagged_token": "flagged",
    "policy": "policy_known",
}
_LABELS = ("harmful", "benign")
_SUM, _ROWS = "/sum/", "/rows/"


@lru_cache(maxsize=1024)
def over(metric: str) -> str | None:
    """Which rows a guard reward's metric is over, as ``<reward>/rows/<this>`` counts them; None for other metrics.

    >>> over("safe_rate"), over("refusal_rate/harmful"), over("category/Violent"), over("seconds")
    ('judged', 'refusal_known/harmful', 'judged', None)
    >>> over("compliance/refuse")  # the rows for which this behaviour is right
    'asked_for/refuse'
    """
    first, _, rest = metric.partition("/")
    if first == "compliance" and rest:
        return f"asked_for/{rest}"
    rows = _OVER.get(first)
    return f"{rows}/{rest}" if rows and first.endswith("_rate") and rest in _LABELS else rows


def sum_name(reward: str, metric: str) -> str:
    """Under which name a reward logs the sum of a metric over the rows of a call."""
    return f"{reward}{_SUM}{metric}"


def rows_name(reward: str, rows: str) -> str:
    """Under which name a reward logs a number of rows of a call."""
    return f"{reward}{_ROWS}{rows}"


def is_total(name: str) -> bool:
    """Whether a name in a log line is that of a sum or of a number of rows."""
    return _SUM in name or _ROWS in name


def exact_rates(line: Mapping[str, Any]) -> dict[str, float]:
    """The rates and means over all rows that a log line is about: of all its calls, and of all ranks.

    Exact up to the single precision in which TRL adds up. Metrics without a sum in the line (``guard/seconds``, TRL's
    own) and metrics that no row had are left out.

    Args:
        line: one entry of ``trainer.state.log_history``, of training or of an evaluation (``eval_guard/…``).

    Returns:
        The value by the metric's name, as in the line; in ``{**line, **exact_rates(line)}`` exact rates replace the
        means of the calls' rates.

    >>> exact_rates({
    ...     "guard/refusal_rate": 0.5,  # a call with 1 refusal among 1 row, and a call with 0 among 9
    ...     "guard/sum/refusal_rate": 0.5,
    ...     "guard/rows/refusal_known": 5.0,
    ... })
    {'guard/refusal_rate': 0.1}
    """
    rates = {}
    for name, total in line.items():
        if _SUM not in name:
            continue
        reward, _, metric = name.partition(_SUM)
        rows = _rows(line, reward, metric)
        if rows and _is_number(total):
            rates[f"{reward}/{metric}"] = total / rows
    return rates


def totals(line: Mapping[str, Any]) -> list[str]:
    """The names that a reward logged for `exact_rates` alone: sums with a number of rows, and these rewards' numbers.

    >>> totals({"guard/sum/refusal_rate": 0.5, "guard/rows/refusal_known": 5.0, "my/sum/tokens": 3.0})
    ['guard/sum/refusal_rate', 'guard/rows/refusal_known']
    """
    pairs = ((name, *name.partition(_SUM)[::2]) for name in line if _SUM in name)
    sums = {name: reward for name, reward, metric in pairs if _rows(line, reward, metric) is not None}
    rewards = set(sums.values())
    return [*sums, *(name for name in line if _ROWS in name and name.partition(_ROWS)[0] in rewards)]


def _rows(line: Mapping[str, Any], reward: str, metric: str) -> float | None:
    """Over how many rows a sum is. `combine` counts those of each of its functions apart, under the function's name."""
    counts = (line.get(rows_name(reward, rows)) for rows in (metric, over(metric)) if rows)
    return next((count for count in counts if _is_number(count)), None)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
