"""An alarm, and the file of all of them: ``monitor.jsonl`` in the run's folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from guard_reward.files import append_lines, keep_aside, replacing

__all__ = ["FILE", "Alarm", "append_alarms", "drop_alarms"]

FILE = "monitor.jsonl"


@dataclass(frozen=True, slots=True)
class Alarm:
    """A signal that has risen.

    Attributes:
        step: that was being made, as the trainer's log and the rollouts table count it.
        signal: its name in `guard_reward.monitoring.signals.table.SIGNALS`.
        value: the share of rollouts now, since it began to rise.
        limit: the share above which evidence adds up.
        baseline: the share in the first steps.
        message: all of this in words, what it may mean, and what to do.
        rollouts: those furthest beyond, as JSON values: ``prompt``, ``completion``, ``value``, both guards' severities.
    """

    step: int
    signal: str
    value: float
    limit: float
    baseline: float
    message: str
    rollouts: Sequence[Mapping[str, Any]] = ()

    def __str__(self) -> str:
        """The message and the worst rollouts, for the log."""
        lines = [self.message]
        for rollout in self.rollouts:
            severities = f"{rollout.get('severity')}, second guard {rollout.get('second')}"
            lines.append(f"  {_short(rollout['prompt'])} → {_short(rollout['completion'])} ({severities})")
        return "\n".join(lines)


def append_alarms(folder: Path, alarms: Sequence[Alarm]) -> None:
    """Add a line per alarm to the file, in one write.

    Raises:
        OSError: the file cannot be written; no half line stays.
    """
    if alarms:
        lines = "".join(json.dumps(asdict(alarm), ensure_ascii=False) + "\n" for alarm in alarms)
        append_lines(folder / FILE, lines.encode("utf-8", "replace").decode())


def drop_alarms(folder: Path, done: int) -> None:
    """Take those out that a run with `done` steps behind it will repeat; a new run keeps the old one's file aside.

    Raises:
        OSError: the file cannot be read or written.
    """
    path = folder / FILE
    if not path.is_file():
        return
    if done == 0:
        keep_aside(path)
        return
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    kept = [line for line in lines if not _is_after(line, done)]
    if len(kept) < len(lines):
        with replacing(path) as part:
            part.write_text("".join(kept), encoding="utf-8")


def _is_after(line: str, done: int) -> bool:
    try:
        return int(json.loads(line)["step"]) > done
    except (ValueError, TypeError, KeyError, RecursionError):
        return False


def _short(text: str, limit: int = 160) -> str:
    """On one line of a terminal, without control characters."""
    line = "".join(character if character.isprintable() else " " for character in text)
    return repr(line if len(line) <= limit else f"{line[:limit]}…")
