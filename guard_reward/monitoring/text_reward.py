"""Reward functions that are not ours, watched: what they are given and what they return."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from guard_reward.monitoring.seen import Seen, seen_text
from guard_reward.rewards.dual_ascent import is_training
from guard_reward.rewards.functions import function_name, is_asynchronous
from guard_reward.rewards.observers import Observers, token_counts
from guard_reward.rewards.turns import in_order_of_start

__all__ = ["TextBatch", "WatchedReward", "watched"]

_IN_ORDER = ("prompts", "completions", "completion_ids")  # of arguments without a name


@dataclass(frozen=True, slots=True)
class TextBatch:
    """One call of a reward function with TRL's signature, its rewards, and the watched function."""

    arguments: dict[str, Any]
    rewards: Sequence[float | None]
    source: Any = None

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
        tokens = token_counts(self.arguments.get("completion_ids"), len(completions))
        rows = zip(prompts, completions, tokens, self.rewards, strict=False)  # a reward may return too few
        return [seen_text(*row) for row in rows]


class WatchedReward:
    """A reward function with the same name, attributes and rewards; `observe` sees each call after it.

    An error in `observe` changes no reward. Pickled and copied, it is the plain function: observers stay in this
    process.
    """

    def __init__(self, function: Callable[..., Any], observe: Callable[[TextBatch], None]):
        self._function = function
        self.__name__ = function_name(function)
        self.__doc__ = function.__doc__
        self._observers: Observers[TextBatch] = Observers(self.__name__)
        self._observers.add(observe)

    def __call__(self, /, *in_order: Any, **arguments: Any) -> Any:
        """The function's rewards."""
        rewards = self._function(*in_order, **arguments)
        self._observers.show(self._batch(in_order, arguments, rewards))
        return rewards

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "_function" not in self.__dict__:  # while it is being made
            raise AttributeError(name)
        return getattr(self._function, name)

    def __reduce__(self) -> tuple[Any, ...]:
        return _plain, (self._function,)

    def _batch(self, in_order: Sequence[Any], arguments: dict[str, Any], rewards: Any) -> TextBatch:
        return TextBatch({**dict(zip(_IN_ORDER, in_order, strict=False)), **arguments}, rewards, self)


class _AwaitedReward(WatchedReward):
    """For an asynchronous function."""

    async def __call__(self, /, *in_order: Any, **arguments: Any) -> Any:
        """The function's rewards, in its turn: what is observed is exchanged between the ranks."""
        state = self._batch(in_order, arguments, ()).trainer_state
        async with in_order_of_start(in_trainer=state is not None) as turn:
            rewards = await self._function(*in_order, **arguments)
            await turn()
            await asyncio.to_thread(self._observers.show, self._batch(in_order, arguments, rewards))
            return rewards


def watched(reward_func: Callable[..., Any], observe: Callable[[TextBatch], None]) -> WatchedReward:
    """The function, watched; of the same kind (asynchronous or not).

    Raises:
        ValueError: it is no function that can be called with texts: a model, or the name of one.
    """
    if not callable(reward_func) or callable(getattr(reward_func, "named_parameters", None)):
        raise ValueError(
            f"a reward function can be watched, found {reward_func!r}: of a model that TRL scores with, watch another "
            "reward function beside it, such as lambda prompts, completions, **_: [None] * len(prompts)"
        )
    kind = _AwaitedReward if is_asynchronous(reward_func) else WatchedReward
    return kind(reward_func, observe)


def _plain(function: Any) -> Any:
    return function
