"""Reward functions that are not ours, watched: what they are given and what they return."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from guard_reward.monitoring.seen import Seen, seen_text
from guard_reward.rewards.dual_ascent import is_training
from guard_reward.rewards.functions import is_asynchronous
from guard_reward.rewards.observers import Observers

__all__ = ["TextBatch", "watched"]


@dataclass(frozen=True, slots=True)
class TextBatch:
    """One call of a reward function with TRL's signature, and its rewards."""

    arguments: dict[str, Any]
    rewards: Sequence[float | None]

    @property
    def trainer_state(self) -> Any:
        """The trainer's; None without a trainer."""
        return self.arguments.get("trainer_state")

    @property
    def log_metric(self) -> Callable[[str, float], None] | None:
        """As TRL's trainers pass it."""
        return self.arguments.get("log_metric")

    @property
    def training(self) -> bool | None:
        """True in training, False in an evaluation, None if that is unknown."""
        return is_training(self.log_metric)

    def seen(self) -> list[Seen | None]:
        """The rows; None for one that cannot be read."""
        prompts, completions = self.arguments.get("prompts", ()), self.arguments.get("completions", ())
        ids = self.arguments.get("completion_ids")
        tokens = [None] * len(completions) if ids is None else [len(one) for one in ids]
        rows = zip(prompts, completions, tokens, self.rewards, strict=False)  # a reward may return too few
        return [seen_text(*row) for row in rows]


def watched(reward_func: Callable[..., Any], observe: Callable[[TextBatch], None]) -> Callable[..., Any]:
    """The function with the same name, rewards and kind (asynchronous or not); `observe` sees each call after it.

    An error in `observe` changes no reward.
    """
    observers: Observers[TextBatch] = Observers(getattr(reward_func, "__name__", type(reward_func).__name__))
    observers.add(observe)

    async def awaited(**arguments: Any) -> Any:
        rewards = await reward_func(**arguments)
        observers.show(TextBatch(arguments, rewards))
        return rewards

    def called(**arguments: Any) -> Any:
        rewards = reward_func(**arguments)
        observers.show(TextBatch(arguments, rewards))
        return rewards

    function: Callable[..., Any] = awaited if is_asynchronous(reward_func) else called
    functools.update_wrapper(function, reward_func, updated=())
    if not hasattr(reward_func, "__name__"):
        function.__name__ = type(reward_func).__name__
    return function
