"""Random Parquet of all Arrow types, with values that Python's types do not hold, and its check."""

from __future__ import annotations

import json
import math
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.moderation.random_tables.texts import corrupted, text

_NAMES = ["id", "", "a.b", "response", "é", "\x00", "turns", "guard_", "a"]
_DEPTH = 2  # of lists, maps and structs
_PER_SECOND = {"s": 0, "ms": 3, "us": 6, "ns": 9}  # decimals
_TIMES = [
    *(pa.timestamp(unit, tz) for unit in ("ms", "us", "ns") for tz in (None, "UTC", "+05:30", "Foo/Bar")),
    *(pa.duration(unit) for unit in ("s", "ms", "us", "ns")),
    pa.date32(), pa.time32("ms"), pa.time64("us"), pa.time64("ns"),
]  # fmt: skip
_PLAIN = [
    pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string()), pa.binary(), pa.binary(3), pa.bool_(),
    pa.null(), pa.int8(), pa.int64(), pa.uint64(), pa.float16(), pa.float32(), pa.float64(),
    pa.decimal128(38, 5), pa.decimal256(76),
]  # fmt: skip


def write(rng: random.Random, path: Path) -> bool:
    """A file with some columns of random types, sometimes after an accident; whether it had none."""
    rows = rng.randrange(12) if rng.random() < 0.99 else rng.randrange(1000, 1200)  # 1,024 are read at a time
    names = rng.sample(_NAMES, rng.randrange(4))
    arrays = [_array(rng, _kind(rng, _DEPTH), rows) for _ in names]
    if rng.random() < 0.95:
        kind = pa.string() if rng.random() < 0.8 else _kind(rng, 1)
        names, arrays = [*names, "prompt"], [*arrays, _array(rng, kind, rows)]
    if names and rng.random() < 0.03:
        names[0] = rng.choice(["guard_reason", names[-1]])
    table = pa.Table.from_arrays(arrays, names=names).replace_schema_metadata({"made by": "a test"})
    pq.write_table(table, path, row_group_size=rng.choice([1, 5, 10_000]), write_page_checksum=True)
    if rng.random() < 0.7:
        return True
    path.write_bytes(corrupted(rng, path.read_bytes()))
    return False


def _kind(rng: random.Random, depth: int) -> pa.DataType:
    kind = rng.random()
    if depth == _DEPTH and kind < 0.05:
        return pa.string_view()  # Arrow cannot slice lists of them, nor write them in several row groups
    if not depth or kind < 0.6:
        return rng.choice(_TIMES if rng.random() < 0.4 else _PLAIN)
    inner = _kind(rng, depth - 1)
    if kind < 0.7:
        return pa.list_(inner)
    if kind < 0.75:
        return pa.large_list(inner)
    if kind < 0.8:
        return pa.map_(pa.string(), inner)
    names = rng.choice([["a"], ["a", "b"], ["a", "a"]])
    return pa.struct([pa.field(name, inner) for name in names])


def _array(rng: random.Random, kind: pa.DataType, length: int) -> pa.Array:
    """Random values, made from their bits where Python has no value for them."""
    missing = np.array([rng.random() < 0.2 for _ in range(length)], dtype=bool)
    if pa.types.is_struct(kind):
        return pa.StructArray.from_arrays(
            [_array(rng, field.type, length) for field in kind], fields=list(kind), mask=pa.array(missing)
        )
    if pa.types.is_map(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind):
        offsets = np.cumsum([0, *(rng.randrange(3) for _ in range(length))])
        offset_array = pa.array(offsets, pa.int64() if pa.types.is_large_list(kind) else pa.int32())
        if pa.types.is_map(kind):
            keys = pa.array([f"k{index}" for index in range(offsets[-1])], pa.string())
            return pa.MapArray.from_arrays(offset_array, keys, _array(rng, kind.item_type, int(offsets[-1])))
        of = pa.LargeListArray if pa.types.is_large_list(kind) else pa.ListArray
        return of.from_arrays(offset_array, _array(rng, kind.value_type, int(offsets[-1])), type=kind)
    values = [None if gone else _scalar(rng, kind) for gone in missing]
    if pa.types.is_temporal(kind):
        return pa.array(values, pa.int32() if kind.bit_width == 32 else pa.int64()).view(kind)
    if pa.types.is_string(kind) and rng.random() < 0.1:  # text that is not UTF-8
        return pa.array([None if value is None else b"caf\xe9" for value in values], pa.binary()).view(kind)
    return pa.array(values, kind)


def _scalar(rng: random.Random, kind: pa.DataType) -> Any:
    if pa.types.is_temporal(kind):
        return _moment(rng, kind)
    if pa.types.is_boolean(kind):
        return rng.random() < 0.5
    if pa.types.is_integer(kind):
        top = 2 ** (kind.bit_width - pa.types.is_signed_integer(kind))
        return rng.choice([0, 1, top - 1, -top if pa.types.is_signed_integer(kind) else top // 2])
    if pa.types.is_floating(kind):
        value = rng.choice([0.0, -0.0, 1.5, math.inf, -math.inf, math.nan])
        return np.float16(value) if pa.types.is_float16(kind) else value
    if pa.types.is_decimal(kind):
        return Decimal(rng.choice(["0", "-1", "12345678901234567890"]))
    if pa.types.is_fixed_size_binary(kind):
        return rng.randbytes(kind.byte_width)
    return None if pa.types.is_null(kind) else text(rng).encode() if pa.types.is_binary(kind) else text(rng)


def _moment(rng: random.Random, kind: pa.DataType) -> int:
    if pa.types.is_time(kind):
        return rng.randrange(86_400 * 10 ** _PER_SECOND[kind.unit])
    top = 2 ** (kind.bit_width - 1)
    return rng.choice([0, -1, 10**9 + 1, top - 1, -top, -top + 1, rng.randrange(-top, top)])


def check(source: Path, target: Path) -> int:
    """Parquet has the same types, bits and metadata; JSON lines the same values, times as text for the same number."""
    before = pq.read_table(source, page_checksum_verification=True)
    if target.suffix == ".parquet":
        after = pq.read_table(target)
        own = after.select(range(before.num_columns))
        assert own.schema.equals(before.schema, check_metadata=True)
        assert [_content(column) for column in own.columns] == [_content(column) for column in before.columns]
        return after.num_rows
    lines = target.read_text(encoding="utf-8").split("\n")[:-1]
    columns = [column.combine_chunks() for column in before.columns]
    for index, line in enumerate(lines):
        row = json.loads(line)
        assert list(row)[: len(columns)] == before.column_names
        for name, column in zip(before.column_names, columns, strict=True):
            assert _is_same(row[name], column[index]), (name, column.type, row[name])
    assert len(lines) == before.num_rows
    return len(lines)


def _content(values: Any) -> Any:
    """Values that are equal if and only if their bits are: numbers for times, text for floats."""
    if isinstance(values, pa.ChunkedArray):
        return [_content(value) for value in values]
    kind = values.type
    if not values.is_valid:
        return None
    if pa.types.is_dictionary(kind):
        return _content(values.value)
    if pa.types.is_struct(kind):
        return [_content(values[index]) for index in range(len(kind))]
    if pa.types.is_map(kind) or isinstance(values, pa.ListScalar):
        return [_content(value) for value in values.values]
    if pa.types.is_temporal(kind):
        return values.value
    if pa.types.is_floating(kind):
        return repr(values.as_py())
    return values.as_buffer().to_pybytes() if pa.types.is_string(kind) else values.as_py()


def _is_same(found: Any, scalar: pa.Scalar) -> bool:
    """Whether a value of JSON says what an Arrow value is."""
    kind = scalar.type
    if not scalar.is_valid:
        return found is None
    if pa.types.is_dictionary(kind):
        return _is_same(found, scalar.value)
    if pa.types.is_struct(kind):
        values = list(found.values()) if isinstance(found, dict) else [value for _, value in found]
        return len(values) == len(kind) and all(_is_same(values[index], scalar[index]) for index in range(len(kind)))
    if pa.types.is_map(kind):
        pairs = [(entry[0].as_py(), entry[1]) for entry in scalar.values]
        return all(
            key == name and _is_same(value, inner) for (key, value), (name, inner) in zip(found, pairs, strict=True)
        )
    if isinstance(scalar, pa.ListScalar):
        return all(_is_same(value, inner) for value, inner in zip(found, scalar.values, strict=True))
    if pa.types.is_temporal(kind):
        return _number(found, kind) == scalar.value
    if pa.types.is_floating(kind):
        return found == scalar.as_py() or (math.isnan(found) and math.isnan(scalar.as_py()))
    return bool(found == _as_json(scalar))


def _as_json(scalar: pa.Scalar) -> Any:
    from base64 import b64encode

    try:
        value = scalar.as_py()
    except UnicodeDecodeError:
        value = scalar.as_buffer().to_pybytes()
    if isinstance(value, bytes):
        return b64encode(value).decode()
    return str(value) if isinstance(value, Decimal) else value


def _number(found: str, kind: pa.DataType) -> int:
    """The number in Arrow that a time's text stands for."""
    if found.endswith("after 1970-01-01"):
        return int(found.split()[0])
    if pa.types.is_date32(kind):
        return int(np.datetime64(found, "D").astype(int))
    scale = 10 ** _PER_SECOND[kind.unit]
    if pa.types.is_duration(kind):
        return int(Decimal(found.removeprefix("PT").removesuffix("S")) * scale)
    if pa.types.is_time(kind):
        hours, minutes, seconds = found.split(":")
        return int((int(hours) * 3600 + int(minutes) * 60 + Decimal(seconds)) * scale)
    assert found.endswith("+00:00") == bool(kind.tz)
    return int(np.datetime64(found.removesuffix("+00:00"), kind.unit).astype(int))
