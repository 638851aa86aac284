"""A policy table as a user gives it: checked, and completed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from guard_reward.schemes.behaviours import DEFAULT_POLICIES, Behaviour
from guard_reward.verdict import Severity

__all__ = ["checked_patterns", "checked_policies", "split_key"]

_BEHAVIOURS = ", ".join(Behaviour)
_KEYS = "a category of the guard, a category and a severity ('Violent: Controversial'), a severity, or 'default'"


def checked_policies(policies: Any) -> dict[str, str]:
    """A table with entries for every prompt.

    Raises:
        ValueError: not a mapping, a key that is none, or an unknown behaviour; names the key.

    >>> checked_policies({"PII": "refuse", "default": "answer"})
    {'PII': 'refuse', 'default': 'answer', 'Safe': 'answer'}
    """
    if not isinstance(policies, Mapping):
        raise ValueError(f"policies should be a mapping from category to behaviour, found {policies!r}")
    for key, behaviour in policies.items():
        if not isinstance(key, str) or not key.strip():
            raise ValueError(f"policies[{key!r}]: a key should be {_KEYS}")
        if split_key(key)[0] and split_key(key)[1] == Severity.SAFE:
            raise ValueError(f"policies[{key!r}]: Safe prompts have one policy, 'Safe', whatever they are about")
        if not isinstance(behaviour, str) or behaviour not in list(Behaviour):
            raise ValueError(f"policies[{key!r}] should be one of {_BEHAVIOURS}, found {behaviour!r}")
    table = {key: str(behaviour) for key, behaviour in policies.items()}
    return {**table, **{key: DEFAULT_POLICIES[key] for key in ("default", "Safe") if key not in table}}


def checked_patterns(patterns: Any, policies: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Patterns by behaviour or by key of the table; a single text is a list of one.

    Raises:
        ValueError: not such a mapping, or a key that is neither; names the key.

    >>> checked_patterns({"offer_help": "call 112"}, {})
    {'offer_help': ('call 112',)}
    """
    if not isinstance(patterns, Mapping):
        raise ValueError(f"patterns should be a mapping from behaviour or category to texts, found {patterns!r}")
    checked = {}
    for key, texts in patterns.items():
        if key not in list(Behaviour) and key not in policies:
            raise ValueError(
                f"patterns[{key!r}]: this is neither a behaviour ({_BEHAVIOURS}) nor a key of policies "
                f"({', '.join(policies)})"
            )
        listed = [texts] if isinstance(texts, str) else texts
        if not isinstance(listed, (list, tuple)) or not listed or not all(isinstance(text, str) for text in listed):
            raise ValueError(
                f"patterns[{key!r}] should be a list of at least one text (in YAML, numbers in quotes), found {texts!r}"
            )
        checked[str(key)] = tuple(listed)
    return checked


def split_key(key: str) -> tuple[str, str]:
    """Category and severity of a key of the table; empty if it has none.

    >>> split_key("Violent: Unsafe"), split_key("PII"), split_key("Safe"), split_key("default")
    (('Violent', 'Unsafe'), ('PII', ''), ('', 'Safe'), ('', ''))
    """
    if key == "default":
        return "", ""
    if key in list(Severity):
        return "", key
    category, colon, severity = key.rpartition(": ")
    return (category, severity) if colon and severity in list(Severity) else (key, "")
