"""Arrow's values in Python's types, whatever a Parquet file holds.

pyarrow's own `to_pylist` raises for dates outside Python's range and for text that is not UTF-8, and rounds times of
day to microseconds. Here no value raises and none changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

__all__ = ["TimeValue", "python_values"]

_UNITS_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
# What `to_pylist` and `as_py` raise. ArrowInvalid is a ValueError, ArrowNotImplementedError a NotImplementedError.
_UNREADABLE = (ArithmeticError, LookupError, NotImplementedError, TypeError, ValueError)


@dataclass(frozen=True)
class TimeValue:
    """A date, time or duration, as ISO 8601 text; not a ``str``, because it is no text to judge."""

    text: str

    def __str__(self) -> str:
        return self.text


def python_values(array: pa.Array) -> list[Any]:
    """The values of an array.

    | in Arrow | in Python |
    |---|---|
    | date, timestamp, time of day, duration | `TimeValue`, exact; a timestamp with a time zone in UTC |
    | text that is not UTF-8 | ``bytes`` |
    | a map, and a struct that has two fields of the same name | list of key and value |
    | anything else | as ``to_pylist`` |

    >>> [str(day) for day in python_values(pa.array([0, 2**31 - 1], pa.date32()))]
    ['1970-01-01', '5881580-07-11']
    """
    if not _has_times(array.type):
        try:
            return array.to_pylist()
        except _UNREADABLE:
            pass  # one of them is to blame: read them one by one
    return [_value(scalar) for scalar in array]


def _has_times(kind: pa.DataType) -> bool:
    if isinstance(kind, pa.DictionaryType):
        return _has_times(kind.value_type)
    if isinstance(kind, pa.BaseExtensionType):
        return _has_times(kind.storage_type)
    return pa.types.is_temporal(kind) or any(_has_times(kind.field(index).type) for index in range(kind.num_fields))


def _value(scalar: pa.Scalar) -> Any:
    if not scalar.is_valid:
        return None
    kind = scalar.type
    if pa.types.is_temporal(kind):
        return TimeValue(_time_text(scalar.value, kind))
    if pa.types.is_struct(kind):
        names = [field.name for field in kind]
        pairs = [(name, _value(scalar[index])) for index, name in enumerate(names)]
        return dict(pairs) if len(set(names)) == len(names) else pairs
    if pa.types.is_map(kind):
        return [(_value(entry[0]), _value(entry[1])) for entry in scalar.values]
    if isinstance(scalar, pa.ListScalar):
        return [_value(inner) for inner in scalar.values]
    if isinstance(scalar, pa.DictionaryScalar | pa.ExtensionScalar):
        return _value(scalar.value)
    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        return scalar.as_buffer().to_pybytes()


def _time_text(value: int, kind: pa.DataType) -> str:
    """ISO 8601.

    >>> _time_text(-1, pa.timestamp("ns", tz="Asia/Tokyo")), _time_text(-1_500, pa.duration("ms"))
    ('1969-12-31T23:59:59.999999999+00:00', 'PT-1.500S')
    >>> _time_text(3_600_000_001, pa.time64("us"))
    '01:00:00.000001'
    """
    unit: Any = "D" if pa.types.is_date32(kind) else "ms" if pa.types.is_date64(kind) else kind.unit
    if pa.types.is_duration(kind):
        return f"PT{_seconds(value, unit)}S"
    if pa.types.is_time(kind):
        minutes, seconds = divmod(abs(value), 60 * _UNITS_PER_SECOND[unit])
        sign, filled = "-" if value < 0 else "", _seconds(seconds, unit)
        return f"{sign}{minutes // 60:02}:{minutes % 60:02}:{'0' * (seconds < 10 * _UNITS_PER_SECOND[unit])}{filled}"
    moment = np.datetime64(value, unit)
    if np.isnat(moment):  # numpy's mark for "no time" is the smallest number, which is a time in Arrow
        return f"{value} {unit} after 1970-01-01"
    return f"{moment}+00:00" if getattr(kind, "tz", None) else str(moment)


def _seconds(value: int, unit: str) -> str:
    """A number of units, as seconds with all the unit's decimals."""
    per_second = _UNITS_PER_SECOND[unit]
    whole, rest = divmod(abs(value), per_second)
    decimals = f".{rest:0{len(str(per_second)) - 1}}" if per_second > 1 else ""
    return f"{'-' if value < 0 else ''}{whole}{decimals}"
