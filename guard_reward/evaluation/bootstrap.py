"""Confidence intervals of any statistic: the percentile bootstrap.

Draw as many rows as there are, with replacement, compute the statistic, and repeat: the middle 95% of what comes out is
the interval (Efron, "Bootstrap methods: another look at the jackknife", 1979). Rows that belong together, such as
several answers to one prompt, are drawn together: they are a cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from guard_reward.statistics import Estimate

if TYPE_CHECKING:
    import numpy as np

__all__ = ["RESAMPLES", "Statistic", "bootstrap_interval", "bootstrap_intervals"]

RESAMPLES = 1000
_LEVEL = 0.95
_AT_A_TIME = 2_000_000  # drawn row numbers in memory

Statistic = Callable[["np.ndarray"], Any]
"""From samples, of shape (samples, rows, …), to one value per sample, of shape (samples,) or (samples, values).

NaN where a sample has no value, such as the mean of no rows; intervals leave those samples out.
"""


def bootstrap_interval(
    statistic: Statistic,
    rows: Sequence[Any] | np.ndarray,
    *,
    clusters: Sequence[Any] | None = None,
    resamples: int = RESAMPLES,
    level: float = _LEVEL,
    seed: int = 0,
) -> Estimate:
    """A statistic of the rows, with its interval.

    Args:
        statistic: computes one value per sample, for many samples in one call.
        rows: an array, or what numpy makes one of; its first axis is resampled. Give ``range(n)`` if the statistic
            looks up the rows itself.
        clusters: per row, which cluster it belongs to; by default every row is drawn alone.
        resamples: how many samples are drawn.
        level: of the interval.
        seed: of the draws; the same seed gives the same interval.

    Returns:
        The value and its interval, NaN where it is not defined; `count` is the number of rows.

    Raises:
        ValueError: there are no rows, or not one cluster per row.

    >>> bootstrap_interval(lambda samples: samples.mean(axis=1), [0, 1] * 50)
    Estimate(value=0.5, low=0.4, high=0.6, count=100)
    """
    return bootstrap_intervals(
        lambda samples: statistic(samples)[:, None],
        rows,
        clusters=clusters,
        resamples=resamples,
        level=level,
        seed=seed,
    )[0]


def bootstrap_intervals(
    statistic: Statistic,
    rows: Sequence[Any] | np.ndarray,
    *,
    clusters: Sequence[Any] | None = None,
    resamples: int = RESAMPLES,
    level: float = _LEVEL,
    seed: int = 0,
) -> list[Estimate]:
    """`bootstrap_interval` for a statistic of several values, all from the same samples."""
    import numpy as np

    values = np.asarray(rows)
    if not len(values):
        raise ValueError("an estimate needs at least one observation")
    if clusters is not None and len(clusters) != len(values):
        raise ValueError(f"there are {len(clusters)} clusters for {len(values)} rows: give one per row")
    found = np.asarray(statistic(values[None]), dtype=float)[0]
    draws = _row_samples(len(values), resamples, seed) if clusters is None else _clusters(clusters, resamples, seed)
    sampled = np.concatenate([np.asarray(statistic(values[numbers]), dtype=float) for numbers in draws])
    return _estimates(found, sampled, len(values), level=level)


def _estimates(found: np.ndarray, sampled: np.ndarray, count: int, *, level: float = _LEVEL) -> list[Estimate]:
    """Estimates from the values of the rows, of shape (values,), and of the samples, of shape (samples, values)."""
    import numpy as np

    tail = (1 - level) / 2
    estimates = []
    for value, drawn in zip(found, sampled.T, strict=True):
        defined = drawn[~np.isnan(drawn)]
        low, high = np.quantile(defined, [tail, 1 - tail]) if len(defined) else (np.nan, np.nan)
        estimates.append(Estimate(float(value), round(float(low), 6), round(float(high), 6), count))
    return estimates


def _row_samples(count: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Row numbers, of shape (samples, rows), as many samples at a time as fit in memory."""
    import numpy as np

    random = np.random.default_rng(seed)
    step = max(1, _AT_A_TIME // count)
    for begin in range(0, resamples, step):
        yield random.integers(count, size=(min(step, resamples - begin), count))


def _clusters(clusters: Sequence[Any], resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Row numbers, of shape (1, rows of the drawn clusters); samples differ in length."""
    import numpy as np

    members: dict[Any, list[int]] = {}
    for number, cluster in enumerate(clusters):
        members.setdefault(cluster, []).append(number)
    groups = [np.array(numbers) for numbers in members.values()]
    random = np.random.default_rng(seed)
    for _ in range(resamples):
        yield np.concatenate([groups[drawn] for drawn in random.integers(len(groups), size=len(groups))])[None]
