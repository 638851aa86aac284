"""The field ``defences`` of a configuration → `guard_reward.rewards.defences.Defences`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from guard_reward.errors import UserError
from guard_reward.launch.values import read_values
from guard_reward.rewards.defences import Defences, HelpfulnessRails

__all__ = ["build_defences"]

_PRESETS = {"off": Defences.off, "default": Defences, "strict": Defences.strict}


def build_defences(value: Mapping[str, Any] | str | bool | None) -> Defences:
    """The defences that a configuration asks for: a preset's name, a mapping of values, or None for the defaults.

    YAML reads the words off and on as false and true: they are `Defences.off` and the defaults.

    Raises:
        UserError: names the value that is wrong.

    >>> build_defences('{"window": 2000}').window, build_defences(False).normalise
    (2000, False)
    """
    if value is None or value is True:
        return Defences()
    if value is False:
        return Defences.off()
    if isinstance(value, str):
        if value in _PRESETS:
            return _PRESETS[value]()
        try:
            value = json.loads(value)
        except json.JSONDecodeError as error:
            raise UserError(f"defences: should be {', '.join(_PRESETS)} or JSON, found {value!r}") from error
    if not isinstance(value, Mapping):
        raise UserError(f"defences: should be {', '.join(_PRESETS)} or a mapping, found {value!r}")
    given = dict(value)
    rails = given.pop("helpfulness", None)
    if rails is not None:
        given["helpfulness"] = _built(HelpfulnessRails, rails, "defences: helpfulness")
    return _built(Defences, given, "defences")


def _built(make: Any, values: Any, name: str) -> Any:
    known = list(make.__dataclass_fields__)
    if not isinstance(values, Mapping):
        raise UserError(f"{name}: should be a mapping of {', '.join(known)}, found {values!r}")
    if unknown := [key for key in values if key not in known]:
        raise UserError(f"{name}: there is no {', '.join(map(str, unknown))}; there are {', '.join(known)}")
    done = {key: value for key, value in values.items() if isinstance(value, make) or key == "helpfulness"}
    plain = {key: value for key, value in values.items() if key not in done}
    try:
        return make(**read_values(make, plain, name), **done)
    except UserError:
        raise
    except (TypeError, ValueError) as error:
        raise UserError(f"{name}: {error}") from error
