"""Reward functions of any make: their names, and whether they must be awaited."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["RewardFunction", "function_name", "is_asynchronous"]

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


def _without_partial(function: Any) -> Any:
    while isinstance(function, functools.partial):
        function = function.func
    return function
