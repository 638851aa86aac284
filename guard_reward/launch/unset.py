"""What the words None, none and null mean for an option: nothing, if it may be unset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from types import NoneType
from typing import Any, get_args, get_type_hints

__all__ = ["is_nothing", "unset_values"]

_NOTHING = ("none", "null")


def is_nothing(value: Any) -> bool:
    """Whether a value from YAML or the command line is None or a word for it.

    >>> [is_nothing(value) for value in ("None", "none", "null", None, "nil", "", False)]
    [True, True, True, True, False, False, False]
    """
    return value is None or (isinstance(value, str) and value.lower() in _NOTHING)


def unset_values(configs: Sequence[type]) -> dict[str, str | None]:
    """The options that may be unset, and what each one then is: None, or its own word for it.

    An option may be unset if its field's type has None. It has a word of its own if its default is one: transformers
    reads ``report_to: none`` as no report, and cannot read None.

    >>> from dataclasses import dataclass
    >>> @dataclass
    ... class Config:
    ...     scale_rewards: str = "group"
    ...     run_name: str | None = None
    ...     report_to: str | None = "none"
    >>> unset_values([Config])
    {'run_name': None, 'report_to': 'none'}
    """
    found: dict[str, str | None] = {}
    for config in configs:
        hints = get_type_hints(config)
        for field in fields(config):
            if NoneType in get_args(hints[field.name]):
                default: Any = field.default
                found[field.name] = default if is_nothing(default) else None
    return found
