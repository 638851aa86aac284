"""Parquet, through pyarrow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from guard_reward.errors import UserError, first_paragraph
from guard_reward.moderation.tables.arrow_values import python_values
from guard_reward.moderation.tables.base import Additions, Field, Kind, Row, Table, check_unique

__all__ = ["ParquetTable", "write_parquet"]

_BATCH = 1024  # rows in memory at a time, and in a row group

_TYPES = {Kind.TEXT: pa.string(), Kind.NUMBER: pa.float64(), Kind.FLAG: pa.bool_(), Kind.TEXTS: pa.list_(pa.string())}


class ParquetTable:
    """A Parquet file; none of its rows can be faulty."""

    def __init__(self, path: Path):
        self.path = path
        try:
            with path.open("rb") as source, pq.ParquetFile(source) as file:
                self.schema: pa.Schema = file.schema_arrow
                self.columns: list[str] = self.schema.names
                self.row_count: int = file.metadata.num_rows
        except Exception as error:  # a broken file can make pyarrow raise anything
            raise UserError(f"'{path}' is not Parquet that can be read: {first_paragraph(error)}") from error
        self.fault_count = 0
        check_unique(path, self.columns)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The file in Arrow's own form, some rows at a time.

        Raises:
            ValueError: there are more or fewer rows than the file's footer says.
        """
        found = 0
        # Opened by Python, because Arrow wants names in UTF-8.
        with self.path.open("rb") as source, pq.ParquetFile(source, page_checksum_verification=True) as file:
            for group in range(file.num_row_groups):  # one by one: Arrow cannot join dictionaries in lists or structs
                for batch in file.iter_batches(batch_size=_BATCH, row_groups=[group]):
                    found += batch.num_rows
                    if found > self.row_count:
                        raise ValueError(f"its footer says {self.row_count} rows, and there are more")
                    yield batch
        if found < self.row_count:
            raise ValueError(f"its footer says {self.row_count} rows, and there are only {found}")

    def rows(self) -> Iterator[Row]:
        """All rows, in the file's order; a value is put into Python's types when it is asked for."""
        for batch in self.batches():
            columns = _Columns(batch)
            yield from (Row(_BatchRow(columns, index)) for index in range(batch.num_rows))


class _Columns:
    """The columns of a batch in Python's types, each made once, when a row asks for it."""

    def __init__(self, batch: pa.RecordBatch):
        self.positions = {name: position for position, name in enumerate(batch.schema.names)}
        self._batch = batch
        self._values: dict[str, list[Any]] = {}

    def __getitem__(self, name: str) -> list[Any]:
        if name not in self._values:
            self._values[name] = python_values(self._batch.column(self.positions[name]))
        return self._values[name]


class _BatchRow(Mapping[str, Any]):
    """One row of a batch."""

    def __init__(self, columns: _Columns, index: int):
        self._columns = columns
        self._index = index

    def __getitem__(self, name: str) -> Any:
        return self._columns[name][self._index]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns.positions)

    def __len__(self) -> int:
        return len(self._columns.positions)


def write_parquet(path: Path, table: Table, fields: list[Field], additions: Additions) -> None:
    """Write a Parquet table's columns, with their Arrow types and metadata, and the fields behind them."""
    assert isinstance(table, ParquetTable)
    added_schema = pa.schema([pa.field(field.name, _TYPES[field.kind]) for field in fields])
    schema = pa.schema([*table.schema, *added_schema], metadata=table.schema.metadata)
    values = iter(additions)
    with path.open("wb") as file, pq.ParquetWriter(file, schema) as writer:
        for batch in table.batches():
            rows = list(islice(values, batch.num_rows))
            added = [
                pa.array([_valid(row[index]) for row in rows], type=field.type)
                for index, field in enumerate(added_schema)
            ]
            writer.write_batch(pa.record_batch([*batch.columns, *added], schema=schema))
    if rest := len(list(values)):
        raise ValueError(f"there are {rest} results more than rows")


def _valid(value: Any) -> Any:
    """Half a surrogate pair has no UTF-8: its escape instead."""
    if isinstance(value, list):
        return [_valid(inner) for inner in value]
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value
