"""Before and after on the same prompts: the difference with its interval, and an exact test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guard_reward.evaluation.bootstrap import bootstrap_interval
from guard_reward.evaluation.extra import evaluation_module
from guard_reward.evaluation.measures import MEASURES, Measure
from guard_reward.evaluation.records import Record
from guard_reward.statistics import Estimate, rate

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Change", "changes", "exact_p_value"]


@dataclass(frozen=True, slots=True)
class Change:
    """How a rate has changed on prompts that both evaluations have.

    Attributes:
        before, after: the rates, each prompt counted once whatever the number of its replies.
        difference: after minus before.
        low, high: its 95% interval, the percentile bootstrap over prompts; where every prompt changes alike, by
            Wilson's interval of the share of prompts that do.
        risen, fallen: prompts whose rate is higher or lower than before.
        p_value: of the exact two-sided test that a change in either direction is equally likely. With one reply per
            prompt this is McNemar's exact test, with several the sign test over prompts.
        prompts: how many there are.
    """

    before: float
    after: float
    difference: float
    low: float
    high: float
    risen: int
    fallen: int
    p_value: float
    prompts: int


def exact_p_value(risen: int, fallen: int) -> float:
    """McNemar's exact test, two-sided: the binomial test of `risen` in all that changed, against one half.

    McNemar, "Note on the sampling error of the difference between correlated proportions or percentages" (1947);
    computed by `scipy.stats.binomtest`.

    >>> round(exact_p_value(1, 9), 4), exact_p_value(0, 0)
    (0.0215, 1.0)
    """
    stats = evaluation_module("scipy.stats")
    return float(stats.binomtest(risen, risen + fallen, 0.5).pvalue) if risen + fallen else 1.0


def changes(before: Sequence[Record], after: Sequence[Record], judge: str) -> dict[str, Change]:
    """Every measure that both evaluations have, on the prompts for which both have it.

    Args:
        before, after: records of the same prompts; the same ``prompt_id`` is the same prompt.
        judge: who judged both.
    """
    found = {}
    for measure in MEASURES:
        pairs = _pairs(before, after, judge, measure)
        if len(pairs):
            found[measure.name] = _change(pairs)
    return found


def _pairs(before: Sequence[Record], after: Sequence[Record], judge: str, measure: Measure) -> np.ndarray:
    """Per prompt, its rate before and after, of shape (prompts, 2)."""
    import numpy as np

    old, new = (_rates(records, judge, measure) for records in (before, after))
    return np.array([(old[key], new[key]) for key in old if key in new], dtype=float).reshape(-1, 2)


def _rates(records: Sequence[Record], judge: str, measure: Measure) -> dict[int, float]:
    values: dict[int, list[float]] = {}
    for record in records:
        if (value := measure.of(record, judge)) is not None:
            values.setdefault(record["prompt_id"], []).append(value)
    return {key: sum(of_prompt) / len(of_prompt) for key, of_prompt in values.items()}


def _interval(differences: np.ndarray) -> Estimate:
    first = float(differences[0])
    if (differences != first).any():
        return bootstrap_interval(lambda samples: samples.mean(axis=1), differences)
    alike = rate(len(differences), len(differences)).low
    bounds = sorted((first * alike, first)) if first else (alike - 1, 1 - alike)
    return Estimate(first, round(bounds[0], 6), round(bounds[1], 6), len(differences))


def _change(pairs: np.ndarray) -> Change:
    differences = pairs[:, 1] - pairs[:, 0]
    interval = _interval(differences)
    risen, fallen = int((differences > 0).sum()), int((differences < 0).sum())
    before, after = pairs.mean(axis=0).tolist()
    return Change(
        before=before,
        after=after,
        difference=interval.value,
        low=interval.low,
        high=interval.high,
        risen=risen,
        fallen=fallen,
        p_value=exact_p_value(risen, fallen),
        prompts=len(pairs),
    )
