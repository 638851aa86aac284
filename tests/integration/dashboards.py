"""What wandb, trackio and TensorBoard kept of a run, read back: metrics by step, and the rollouts tables."""

from __future__ import annotations

import json
import struct
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

Metrics = dict[str, dict[int, Any]]  # name → step of the trainer → value
STEP = "train/global_step"
REPEATED = {STEP, "train/epoch"}  # logged with an evaluation too
_HEADER, _BLOCK = 7, 32 * 1024


def records(file: Path) -> Iterator[bytes]:
    """The records of a ``.wandb`` file: LevelDB's log format behind a header of seven bytes."""
    data = file.read_bytes()
    assert data[:4] == b":W&B"
    position, record = _HEADER, b""
    while position + _HEADER <= len(data):
        left = _BLOCK - position % _BLOCK
        if left < _HEADER:  # too short for a header: filled with zeros
            position += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, position)
        if position + _HEADER + length > len(data):
            return  # not yet written to its end
        record += data[position + _HEADER : position + _HEADER + length]
        position += _HEADER + length
        if kind in (1, 4):  # whole, or the last part
            yield record
            record = b""


def history(file: Path) -> list[dict]:
    """What was logged, a dictionary a call of ``wandb.log``."""
    from wandb.proto.wandb_internal_pb2 import Record

    for _ in range(300):  # wandb's own process may still be writing: its last record is the exit
        written = [Record.FromString(data) for data in records(file)]
        if any(record.WhichOneof("record_type") == "exit" for record in written):
            break
        time.sleep(0.1)
    return [
        {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item}
        for record in written
        if record.WhichOneof("record_type") == "history"
    ]


def by_step(logged: Iterable[Mapping[str, Any]]) -> Metrics:
    """The metrics of wandb's or trackio's rows at the trainer's steps; their own steps count every call of ``log``."""
    metrics: Metrics = defaultdict(dict)
    for row in logged:
        for name in row if STEP in row else ():
            if name.startswith(("train/", "eval/")):
                again = row[STEP] in metrics[name] and name not in REPEATED
                assert not again, f"{name} is there twice at step {row[STEP]}"
                metrics[name][row[STEP]] = row[name]
    return dict(metrics)


def wandb_tables(rows: Iterable[Mapping[str, Any]], files: Path) -> list[list[dict[str, Any]]]:
    """The rollouts tables in the order in which they were logged, each as rows; wandb writes None as NaN or null."""
    tables = [json.loads((files / row["completions/path"]).read_text()) for row in rows if "completions/path" in row]
    return [
        [
            {name: None if value != value else value for name, value in zip(table["columns"], row, strict=True)}
            for row in table["data"]
        ]
        for table in tables
    ]


def trackio_rows(project: str) -> list[dict[str, Any]]:
    """What was logged in the only run of a project, a dictionary a call of ``trackio.log``."""
    from trackio.sqlite_storage import SQLiteStorage

    (run,) = SQLiteStorage.get_runs(project)
    return list(SQLiteStorage.get_logs(project, run))


def trackio_tables(rows: Iterable[Mapping[str, Any]]) -> list[list[dict[str, Any]]]:
    """The rollouts tables in the order in which they were logged, each as rows; trackio writes None as "NaN"."""
    tables = [row["completions"] for row in rows if "completions" in row]
    assert {table["_type"] for table in tables} == {"trackio.table"}
    return [
        [{name: None if value == "NaN" else value for name, value in row.items()} for row in table["_value"]]
        for table in tables
    ]


def tensorboard_metrics(folder: Path) -> Metrics:
    """The scalars of a run."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    accumulator.Reload()
    events = {name: accumulator.Scalars(name) for name in accumulator.Tags()["scalars"]}
    twice = {name for name, found in events.items() if len({event.step for event in found}) < len(found)}
    assert twice <= REPEATED
    return {name: {event.step: event.value for event in found} for name, found in events.items()}
