"""Alarms of the monitor: ``monitor.jsonl`` in the folder of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from guard_reward.errors import one_line
from guard_reward.report.cells import estimate
from guard_reward.report.json_files import read_lines
from guard_reward.report.run import Alarm

__all__ = ["FILE", "read_alarms"]

FILE = "monitor.jsonl"
_MOST = 1000
_ROLLOUTS = 20


def read_alarms(folder: Path, notes: list[str]) -> list[Alarm]:
    """A run's alarms by step; a line without a step or a signal is none, and the first 1,000 are enough."""
    alarms = (alarm for line in read_lines(folder / FILE, notes) if (alarm := _alarm(line)) is not None)
    found = list({(alarm.step, alarm.signal): alarm for alarm in alarms}.values())  # a resumed run may repeat some
    if len(found) > _MOST:
        notes.append(f"{FILE} has {len(found):,} alarms; the first {_MOST:,} are shown.")
    return sorted(found[:_MOST], key=lambda alarm: alarm.step)


def _alarm(line: Mapping[str, Any]) -> Alarm | None:
    step, signal = estimate(line.get("step")), line.get("signal")
    if step is None or not isinstance(signal, str) or not signal:
        return None
    value, limit = estimate(line.get("value")), estimate(line.get("limit"))
    rollouts = line.get("rollouts")
    rows = [row for row in rollouts if isinstance(row, Mapping)] if isinstance(rollouts, list) else []
    return Alarm(
        step=int(step.value),
        signal=one_line(signal)[:100],
        message=str(line.get("message") or "")[:2000],
        rollouts=rows[:_ROLLOUTS],
        value=value and value.value,
        limit=limit and limit.value,
    )
