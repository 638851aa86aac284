"""Several reward functions as one: a row that one of them cannot judge is None as a whole.

TRL adds up separate reward functions and counts a None among them as 0. Under a scheme with negative rewards that 0
is the best score in the group: a guard outage would be rewarded. Inside one function the row stays None.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from guard_reward.log_lines import rows_name, sum_name
from guard_reward.rewards.functions import RewardFunction, check_unique_name, function_name, is_asynchronous
from guard_reward.rewards.read_only import ReadOnlySettings
from guard_reward.schemes.values import check_finite

__all__ = ["Combination", "combine"]


def combine(
    rewards: Sequence[RewardFunction], weights: Sequence[float] | None = None, *, name: str = "combined"
) -> Combination:
    """One reward function: the weighted sum of several, or None if any of them is None.

    Args:
        rewards: functions with TRL's reward signature, such as `GuardReward`.
        weights: one per function; all 1 by default.
        name: its name in the trainer's log; each function's own mean is logged as ``<name>/<function's name>``
            (its exact mean over a log line: `guard_reward.exact_rates`).

    Raises:
        ValueError: no functions, another number of weights, a weight that is not a finite number, or two functions of
            the same name.

    >>> def brevity(prompts, completions, **columns):
    ...     return [-0.1 * len(completion) for completion in completions]
    >>> def guard(prompts, completions, **columns):
    ...     return [1.0, None]
    >>> combine([guard, brevity], weights=[1.0, 0.5])(prompts=["a", "b"], completions=["abcd", ""])
    [0.8, None]
    """
    return Combination(rewards, weights, name=name)


class Combination(ReadOnlySettings):
    """What `combine` returns: a picklable reward function. Its attributes cannot be changed."""

    read_only = frozenset({"name", "__name__", "rewards", "weights"})

    def __init__(self, rewards: Sequence[RewardFunction], weights: Sequence[float] | None, *, name: str):
        if not rewards:
            raise ValueError("combine needs at least one reward function")
        weights = [1.0] * len(rewards) if weights is None else list(weights)
        if len(weights) != len(rewards):
            raise ValueError(f"combine got {len(rewards)} reward functions and {len(weights)} weights")
        check_finite(**{f"weights[{index}]": weight for index, weight in enumerate(weights)})
        members = [function_name(reward) for reward in rewards]
        if awaited := [name for name, reward in zip(members, rewards, strict=True) if is_asynchronous(reward)]:
            raise ValueError(f"combine calls functions and does not await them: {', '.join(awaited)} is asynchronous")
        if len(set(members)) < len(members):
            raise ValueError(
                f"combine got functions of the same name ({', '.join(members)}), whose logs could not be told apart: "
                "give each its own, as in GuardReward(..., name=...)"
            )
        self._name = name
        self._rewards = tuple(rewards)
        self._weights = tuple(weights)

    @property
    def name(self) -> str:
        """Prefix of its metrics and columns, and its name in the trainer's log."""
        return self._name

    @property
    def __name__(self) -> str:
        """TRL logs a reward function under this name."""
        return self._name

    @property
    def rewards(self) -> tuple[RewardFunction, ...]:
        """The functions."""
        return self._rewards

    @property
    def weights(self) -> tuple[float, ...]:
        """One per function."""
        return self._weights

    def __call__(self, /, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float | None]:
        """Weighted sums, one per completion; None if any function gave None.

        Raises:
            ValueError: a function returned another number of rewards, or two of the trainer's have the same name.
        """
        check_unique_name(self.name, columns.get("log_metric"))
        log_metric, log_extra = columns.get("log_metric"), columns.get("log_extra")
        outputs: list[Sequence[float | None]] = []
        for reward in self.rewards:
            member = function_name(reward)
            # TRL itself writes NaN for None; as a number it would make the mean of every rank NaN.
            values = [
                None if value is None or math.isnan(value) else float(value)
                for value in reward(prompts=prompts, completions=completions, **columns)
            ]
            if len(values) != len(completions):
                raise ValueError(f"{member} returned {len(values)} rewards for {len(completions)} completions")
            outputs.append(values)
            if log_metric:
                known = [value for value in values if value is not None]
                for value in known:
                    log_metric(f"{self.name}/{member}", value)
                log_metric(sum_name(self.name, member), sum(known))
                log_metric(rows_name(self.name, member), float(len(known)))
            if log_extra:
                log_extra(f"{self.name}_{member}", values)
        return [self._sum(row) for row in zip(*outputs, strict=True)]

    def _sum(self, row: Sequence[float | None]) -> float | None:
        total = 0.0
        for weight, value in zip(self.weights, row, strict=True):
            if value is None:
                return None
            total += weight * value
        return total
