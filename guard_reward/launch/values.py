"""Values of a scheme, or of other settings, from YAML or the command line → values of their fields' types.

YAML reads ``1e1`` and ``2e-2`` as texts, and JSON has ``null`` and ``NaN``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from guard_reward.errors import UserError, shortened
from guard_reward.guards.specs.qwen3guard import Category
from guard_reward.schemes import Controversial, Scheme, make_scheme
from guard_reward.schemes.values import is_finite

__all__ = ["read_controversial", "read_number", "read_values"]


def read_values(make: Callable[..., Any], values: Mapping[str, Any], where: str = "scheme_kwargs") -> dict[str, Any]:
    """`values` in the types of the fields: finite numbers, true or false, a scheme for the name of an inner one.

    Args:
        make: a class with typed fields.
        values: of its fields.
        where: they stand; for errors.

    Raises:
        UserError: a value that does not fit its field; names the field.

    >>> from guard_reward.schemes import Hybrid
    >>> read_values(Hybrid, {"unsafe": "-1e1", "controversial": "safe"})
    {'unsafe': -10.0, 'controversial': 'safe'}
    """
    hints = get_type_hints(make)
    return {name: _read(hints.get(name, Any), value, f"{where}: {name}") for name, value in values.items()}


def read_number(value: Any, name: str) -> float:
    """A finite number, or a text that is one.

    >>> read_number("2e-2", "scheme_kwargs: unsafe_rate"), read_number(-10, "scheme_kwargs: unsafe")
    (0.02, -10)
    """
    try:
        number = float(value) if isinstance(value, str) else value
    except ValueError:
        number = None
    if not is_finite(number):
        raise UserError(f"{name} should be a finite number, found {shortened(value)}")
    return number


def read_controversial(value: Any, name: str) -> Controversial:
    """``"unsafe"`` or ``"safe"`` as it is, anything else as a number."""
    words = next(get_args(part) for part in get_args(Controversial) if get_origin(part) is Literal)
    if value in words:
        return value
    try:
        return read_number(value, name)
    except UserError as error:
        raise UserError(
            f"{name} should be {', '.join(map(repr, words))} or a number, found {shortened(value)}"
        ) from error


def _read(hint: Any, value: Any, name: str) -> Any:
    if get_origin(hint) is UnionType and NoneType in get_args(hint) and hint != Controversial:
        (hint,) = (part for part in get_args(hint) if part is not NoneType)
        if value is None:
            return None
    if hint is bool:
        return _flag(value, name)
    if hint is float:
        return read_number(value, name)
    if hint is int:
        return _whole(value, name)
    if hint == Controversial:
        return read_controversial(value, name)
    if hint is Scheme:
        return make_scheme(value)
    if get_origin(hint) is tuple:
        return _numbers(value, len(get_args(hint)), name)
    if get_origin(hint) is Mapping:
        return _categories(value, name) if get_args(hint)[1] is float else _table(value, name)
    return value


def _flag(value: Any, name: str) -> bool:
    if not isinstance(value, bool):
        raise UserError(f"{name} should be true or false, found {shortened(value)}")
    return value


def _whole(value: Any, name: str) -> int:
    number = read_number(value, name)
    if number != int(number):
        raise UserError(f"{name} should be a whole number, found {value!r}")
    return int(number)


def _numbers(value: Any, count: int, name: str) -> tuple[float, ...]:
    if not isinstance(value, (list, tuple)) or len(value) != count:
        raise UserError(f"{name} should be a list of {count} numbers, found {value!r}")
    return tuple(read_number(entry, name) for entry in value)


def _table(value: Any, name: str) -> dict[str, Any]:
    """A mapping of texts or lists of texts; the scheme knows which keys and texts it takes, and names them."""
    if not isinstance(value, Mapping):
        raise UserError(f"{name} should be a mapping, found {value!r}")
    if numbers := [key for key in value if not isinstance(key, str)]:
        raise UserError(f"{name}: the key {numbers[0]!r} should be a text: write it in quotes")
    return dict(value)


def _categories(value: Any, name: str) -> dict[str, float]:
    if not isinstance(value, Mapping):
        raise UserError(f"{name} should be a mapping, category: number, found {value!r}")
    if unknown := [str(key) for key in value if key not in list(Category)]:
        raise UserError(f"{name}: there is no {', '.join(unknown)}; there are {', '.join(Category)}")
    return {str(key): read_number(number, f"{name}: {key}") for key, number in value.items()}
