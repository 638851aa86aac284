"""Reward functions of any make: their names, and whether they must be awaited; a trainer's must differ in name."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

__all__ = ["RewardFunction", "check_unique_name", "function_name", "is_asynchronous"]

RewardFunction = Callable[..., Sequence[float | None]]
"""``f(prompts=, completions=, **columns)`` → one number per completion, or None for no opinion: TRL's signature."""


def function_name(function: Any) -> str:
    """The name under which TRL logs a reward function.

    >>> function_name(functools.partial(len))
    'len'
    """
    function = _without_partial(function)
    return getattr(function, "__name__", type(function).__name__)


def is_asynchronous(function: Any) -> bool:
    """Whether calling `function` gives a coroutine: a coroutine function, or an object with such a ``__call__``."""
    function = _without_partial(function)
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def check_unique_name(name: str, log_metric: Any) -> None:
    """Check that only one reward function of a trainer has this name, also inside combinations.

    Two would log into the same metrics and columns, and share one learned multiplier.

    Args:
        name: of the function that is called.
        log_metric: as TRL's trainers pass it: a method of the trainer. Anything else is not checked.

    Raises:
        ValueError: a second function has the name.
    """
    functions = getattr(getattr(log_metric, "__self__", None), "reward_funcs", None)
    if isinstance(functions, list | tuple) and list(_names(functions)).count(name) > 1:
        raise ValueError(
            f"the trainer has two reward functions with the name {name!r}, whose metrics and columns could not be told "
            "apart: give each its own, as in GuardReward(..., name=...)"
        )


def _names(functions: Sequence[Any]) -> Iterator[str]:
    """The names of reward functions, and of those inside combinations."""
    for function in functions:
        name = function_name(function)
        yield name
        members = getattr(function, "rewards", None)
        if isinstance(members, tuple):
            # A combination may have the name of its member: it logs none of the member's metrics.
            yield from (member for member in _names(members) if member != name)


def _without_partial(function: Any) -> Any:
    while isinstance(function, functools.partial):
        function = function.func
    return function
