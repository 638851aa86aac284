"""Parquet, through pyarrow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from guard_reward.errors import UserError
from guard_reward.moderation.tables.base import Additions, Field, Kind, Row, Table, check_unique
from guard_reward.moderation.tables.jsonl import to_json

__all__ = ["ParquetTable", "write_parquet"]

_BATCH = 1024  # rows in memory at a time, and in a row group

_TYPES = {Kind.TEXT: pa.string(), Kind.NUMBER: pa.float64(), Kind.FLAG: pa.bool_(), Kind.TEXTS: pa.list_(pa.string())}

# What pyarrow raises for values that fit no (or not this) Arrow type.
_UNFIT = (ValueError, TypeError, NotImplementedError, OverflowError)


class ParquetTable:
    """A Parquet file; none of its rows can be faulty."""

    def __init__(self, path: Path):
        self.path = path
        try:
            with pq.ParquetFile(path) as file:
                self.schema: pa.Schema = file.schema_arrow
                self.row_count: int = file.metadata.num_rows
        except pa.ArrowException as error:
            raise UserError(f"'{path}' is not Parquet: {error}") from error
        self.fault_count = 0
        self.columns: list[str] = self.schema.names
        check_unique(path, self.columns)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The file in Arrow's own form, some rows at a time."""
        with pq.ParquetFile(self.path) as file:
            yield from file.iter_batches(batch_size=_BATCH)

    def rows(self) -> Iterator[Row]:
        """All rows, in the file's order, in Python's types."""
        for batch in self.batches():
            yield from map(Row, batch.to_pylist())


def write_parquet(path: Path, table: Table, fields: list[Field], additions: Additions) -> None:
    """Write the table's columns and the fields; Arrow types are kept where the table has them, else inferred."""
    schema = table.schema if isinstance(table, ParquetTable) else _infer_schema(table)
    batches = table.batches() if isinstance(table, ParquetTable) else _to_batches(table, schema)
    added_schema = pa.schema([pa.field(field.name, _TYPES[field.kind]) for field in fields])
    values = iter(additions)
    with pq.ParquetWriter(path, pa.schema([*schema, *added_schema], metadata=schema.metadata)) as writer:
        for batch in batches:
            rows = list(islice(values, batch.num_rows))
            added = [
                pa.array([row[index] for row in rows], type=field.type) for index, field in enumerate(added_schema)
            ]
            writer.write_batch(pa.record_batch([*batch.columns, *added], schema=writer.schema))


def _chunks(table: Table) -> Iterator[list[Row]]:
    rows = table.rows()
    while chunk := list(islice(rows, _BATCH)):
        yield chunk


def _column(chunk: Sequence[Row], name: str) -> list[Any]:
    return [row.values.get(name) for row in chunk]


def _to_batches(table: Table, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for chunk in _chunks(table):
        arrays = []
        for field in schema:
            values = _column(chunk, field.name)
            if (field.metadata or {}).get(b"encoding") == b"json":
                values = [None if value is None else to_json(value) for value in values]
            arrays.append(pa.array(values, type=field.type))
        yield pa.record_batch(arrays, schema=schema)


def _infer_schema(table: Table) -> pa.Schema:
    """One Arrow type a column, by looking at every row; JSON text for a column that no single type fits."""
    types: dict[str, pa.DataType | None] = dict.fromkeys(table.columns, pa.null())
    for chunk in _chunks(table):
        for name, known in types.items():
            if known is not None:
                types[name] = _widened(known, _column(chunk, name))
    # A type that became wider on the way (integers, then fractions) must hold the earlier rows exactly as well.
    for chunk in _chunks(table):
        for name, known in types.items():
            if known is not None and not _fits(known, _column(chunk, name)):
                types[name] = None
    return pa.schema(
        [
            pa.field(name, pa.string(), metadata={b"encoding": b"json"}) if known is None else pa.field(name, known)
            for name, known in types.items()
        ]
    )


def _widened(known: pa.DataType, values: list[Any]) -> pa.DataType | None:
    """The type that holds what was known and these values; None when there is none that Parquet can store."""
    try:
        schemas = [pa.schema([("column", type_)]) for type_ in (known, pa.array(values).type)]
        widened = pa.unify_schemas(schemas, promote_options="permissive").field("column").type
    except _UNFIT:
        return None
    return None if _has_empty_struct(widened) else widened


def _fits(type_: pa.DataType, values: list[Any]) -> bool:
    try:
        pa.array(values, type=type_)
    except _UNFIT:
        return False
    return True


def _has_empty_struct(type_: pa.DataType) -> bool:
    """Parquet has no way to write a struct without fields (a JSON ``{}``)."""
    children = [type_.field(index).type for index in range(type_.num_fields)]
    return (pa.types.is_struct(type_) and not children) or any(map(_has_empty_struct, children))
