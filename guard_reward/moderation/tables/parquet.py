"""Parquet, through pyarrow."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from guard_reward.errors import UserError
from guard_reward.moderation.tables.base import Additions, Field, Kind, Row, Table, check_unique

__all__ = ["ParquetTable", "write_parquet"]

_BATCH = 1024  # rows in memory at a time, and in a row group

_TYPES = {Kind.TEXT: pa.string(), Kind.NUMBER: pa.float64(), Kind.FLAG: pa.bool_(), Kind.TEXTS: pa.list_(pa.string())}


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
    """Write a Parquet table's columns, with their Arrow types and metadata, and the fields behind them."""
    assert isinstance(table, ParquetTable)
    added_schema = pa.schema([pa.field(field.name, _TYPES[field.kind]) for field in fields])
    values = iter(additions)
    with pq.ParquetWriter(path, pa.schema([*table.schema, *added_schema], metadata=table.schema.metadata)) as writer:
        for batch in table.batches():
            rows = list(islice(values, batch.num_rows))
            added = [
                pa.array([row[index] for row in rows], type=field.type) for index, field in enumerate(added_schema)
            ]
            writer.write_batch(pa.record_batch([*batch.columns, *added], schema=writer.schema))
