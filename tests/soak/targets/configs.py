"""Settings of a recipe's file: any value is a valid setting, or a `UserError` that names the field."""

from __future__ import annotations

import json
import math
import pickle
import warnings
from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

from guard_reward.errors import UserError, one_line
from guard_reward.launch.config import GuardRewardConfig, build_scheme, read_outcome_rewards
from guard_reward.launch.defences import build_defences
from guard_reward.launch.values import read_controversial, read_number
from guard_reward.rewards.defences import Defences, HelpfulnessRails
from guard_reward.schemes import SCHEMES
from tests.soak.target import Target, require
from tests.soak.texts import json_value, mutated, scalar

_FIELDS = {
    name: list(getattr(make, "__dataclass_fields__", {})) or ["scheme", "controversial"]
    for name, make in SCHEMES.items()
}
_WORDS = ["unsafe", "safe", "floor", "windows", "guard_only", "hybrid", "soft", "off", "strict", "1e1", "-2e-2", None]
_OUTCOMES = ["empty", "no_verdict", "guard_error", "timeout", "too_long", "injection", "truncated", "nonsense", 3]


class Setting(NamedTuple):
    """A field of a recipe's file, the scheme that it is for, and a value for it."""

    field: str
    scheme: str
    value: Any


def _value(random: Random) -> Any:
    kind = random.randrange(6)
    if kind == 0:
        return random.choice(_WORDS)
    if kind == 1:
        return random.choice((0, 1, 0.5, -1, 2, 1e308, -10.0, 10**400, 0.9, 200, 1000))
    return scalar(random) if kind < 5 else json_value(random)


def _mapping(random: Random, names: list[Any]) -> Any:
    """A mapping of these names, sometimes as JSON text, sometimes as text that is nearly JSON."""
    if random.random() < 0.1:
        return json_value(random)
    known = random.sample(names, random.randrange(min(len(names), 4) + 1))
    value = {name if random.random() < 0.95 else scalar_key(random): _value(random) for name in known}
    if random.random() < 0.3:
        text = json.dumps(value, default=str, skipkeys=True)
        return mutated(random, text) if random.random() < 0.5 else text
    return value


def scalar_key(random: Random) -> Any:
    """A key that no setting has."""
    return random.choice(("", "x y", 1, None, 2.5, True, (1, 2), "\ud800"))


def _make(random: Random) -> Setting:
    scheme = random.choice(list(SCHEMES)) if random.random() < 0.98 else random.choice(("nonsense", "", None, 3, []))
    field = random.choice(list(_READERS))
    if field == "scheme_kwargs":
        return Setting(
            field, scheme, _mapping(random, _FIELDS.get(scheme, ["unsafe"]) if isinstance(scheme, str) else [])
        )
    if field == "on_outcome":
        return Setting(field, scheme, _mapping(random, _OUTCOMES))
    if field == "defences":
        value = _mapping(random, list(Defences.__dataclass_fields__))
        if isinstance(value, dict) and random.random() < 0.4:
            value["helpfulness"] = _mapping(random, list(HelpfulnessRails.__dataclass_fields__))
        return Setting(field, scheme, value)
    return Setting(field, scheme, _value(random))


def _scheme(scheme: str, value: Any) -> None:
    made = build_scheme(GuardRewardConfig("a guard", scheme=scheme, scheme_kwargs=value))
    require(math.isfinite(made.floor(0.0)), "the scheme's floor is a number", made)
    require(pickle.loads(pickle.dumps(made)) == made, "the scheme can be pickled", made)


def _number(_: str, value: Any) -> None:
    require(math.isfinite(read_number(value, "number")), "a finite number", value)


def _controversial(_: str, value: Any) -> None:
    found = read_controversial(value, "controversial")
    require(found in ("unsafe", "safe") or math.isfinite(found), "a word or a finite number", found)


def _outcomes(_: str, value: Any) -> None:
    rewards = read_outcome_rewards(value) or {}
    for reward in rewards.values():
        require(reward in (None, "floor", "windows") or math.isfinite(reward), "a word or a finite number", reward)


def _defences(_: str, value: Any) -> None:
    made = build_defences(value)
    for name, kinds in (("normalise", bool), ("degenerate", bool), ("language_switch", bool), ("window", int | None)):
        require(isinstance(getattr(made, name), kinds), "a setting of the right type", name, getattr(made, name))
    require(isinstance(made.helpfulness, HelpfulnessRails | None), "limits or none", made.helpfulness)


_READERS: dict[str, Callable[[str, Any], None]] = {
    "scheme_kwargs": _scheme,
    "on_outcome": _outcomes,
    "controversial": _controversial,
    "number": _number,
    "defences": _defences,
}
_NAMED = {"scheme_kwargs": ("scheme_kwargs", "scheme:"), "on_outcome": ("on_outcome",)}


def _check(setting: Setting) -> None:
    field, scheme, value = setting
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            _READERS[field](scheme, value)
        except UserError as error:
            names = _NAMED.get(field, (field,))
            require(any(name in str(error) for name in names), "an error names the field", field, str(error))
            require(one_line(error).isprintable(), "and can be printed")


TARGETS = [Target("configs", _make, _check, share=150)]
