"""The trainer's log of a run, put together from what its folder has.

| file | written | by |
|---|---|---|
| ``log.jsonl`` | line by line, while the run goes on | guard_reward's callback: one entry of ``log_history`` per line |
| ``trainer_state.json`` | at the end | transformers' ``save_state`` |
| ``checkpoint-N/trainer_state.json`` | with each checkpoint | transformers |
| ``history.jsonl`` | at the end | ``guard-reward demo`` |
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from guard_reward.report.json_files import is_regular, read_lines, read_object

__all__ = [
    "HISTORY",
    "LIVE",
    "STATE",
    "Log",
    "checkpoints",
    "dataset_of",
    "has_ended",
    "kind_of",
    "merged",
    "read_log",
    "state_files",
]

LIVE, STATE, HISTORY = "log.jsonl", "trainer_state.json", "history.jsonl"
_LARGEST = 1e39  # beyond what float32 has, in which trainers log
_CHECKPOINT = re.compile(r"checkpoint-([0-9]{1,12})")

Line = dict[str, Any]


class Log(NamedTuple):
    """A run's log.

    Attributes:
        lines: by step, each step and kind once.
        state: the trainer's other facts: ``max_steps``, ``train_batch_size``, …
        is_finished: whether the trainer's final line is the last one. A state that was saved with the last checkpoint
            does not have it yet: there it is enough that all steps are done.
    """

    lines: list[Line]
    state: dict[str, Any]
    is_finished: bool


def read_log(folder: Path, notes: list[str]) -> Log:
    """Read a run's log; empty if there is none. What cannot be read is noted."""
    state, state_time = _newest_state(folder, notes)
    history = state.pop("log_history", None)
    saved = merged(line for line in history if isinstance(line, dict)) if isinstance(history, list) else []
    live_path, demo_path = folder / LIVE, folder / HISTORY
    live = merged(read_lines(live_path, notes))
    if not (live or saved) and is_regular(demo_path):
        lines = merged(read_lines(demo_path, notes))
        # It is written when all steps are done, and does not say how many they are.
        return Log(lines, state | ({"max_steps": lines[-1]["step"]} if lines else {}), bool(lines))
    lines = _joined(saved, live, saved_is_newer=state_time >= _time(live_path))
    planned = _step_of({"step": state.get("max_steps")}) or 0
    is_done = bool(lines) and (has_ended(lines) or (not live and 0 < planned <= lines[-1]["step"]))
    return Log(lines, state, is_done)


def merged(lines: Iterable[Mapping[str, Any]]) -> list[Line]:
    """Log lines in the order in which they were written → by step, each step and kind once.

    A run that was resumed from a checkpoint logs some steps again. What had been logged from there on belongs to the
    attempt that was given up, and is left out. Lines without a step are left out too; of their values, finite numbers
    and short texts stay.

    >>> merged([{"step": 1, "loss": 3}, {"step": 2, "loss": 2}, {"step": 3, "loss": 1}, {"step": 2, "loss": 5}])
    [{'step': 1, 'loss': 3}, {'step': 2, 'loss': 5}]
    """
    steps: list[tuple[int, dict[str, Line]]] = []
    for found in lines:
        step = _step_of(found)
        if step is None:
            continue
        if steps and steps[-1][0] > step:
            while steps and steps[-1][0] >= step:
                steps.pop()
        if not steps or steps[-1][0] < step:
            steps.append((step, {}))
        line = {name: value for name, value in found.items() if _is_plain(value)}
        line["step"] = step
        kinds = steps[-1][1]
        kind = kind_of(line)
        kinds.pop(kind, None)  # the later line takes the later place too
        kinds[kind] = line
    return [line for _, kinds in steps for line in kinds.values()]


def kind_of(line: Mapping[str, Any]) -> str:
    """``final`` for the trainer's last line, ``training``, or which evaluation a line is of.

    >>> kind_of({"eval_xstest_runtime": 1.0, "eval_reward": 0.5}), kind_of({"loss": 1}), kind_of({"train_runtime": 9})
    ('eval_xstest_runtime', 'training', 'final')
    """
    if is_final(line):
        return "final"
    if "loss" in line:  # of a training step: an evaluation has eval_loss
        return "training"
    evaluated = [name for name in line if name.startswith("eval_")]
    if not evaluated:
        return "training"
    return next((name for name in evaluated if name.endswith("_runtime")), "eval")


def dataset_of(line: Mapping[str, Any]) -> str:
    """The name of the evaluation dataset of a line, if the trainer has several; empty otherwise.

    Only the names of times have it: the other metrics of all datasets share their names.

    >>> dataset_of({"eval_xstest_runtime": 1.0, "eval_reward": 0.5}), dataset_of({"eval_runtime": 1.0})
    ('xstest', '')
    """
    kind = kind_of(line)
    return (
        kind.removeprefix("eval_").removesuffix("_runtime")
        if kind.startswith("eval_") and kind != "eval_runtime"
        else ""
    )


def has_ended(lines: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the trainer's final line is behind all training; evaluations may follow."""
    kinds = (kind_of(line) for line in reversed(lines))
    return next((kind == "final" for kind in kinds if not kind.startswith("eval")), False)


def is_final(line: Mapping[str, Any]) -> bool:
    """Whether a line is the one that the trainer logs when a run ends."""
    return "train_runtime" in line


def checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """The checkpoints of a run by step, newest first."""
    try:
        entries = list(folder.iterdir())
    except OSError:
        return []
    found = [(int(match[1]), entry) for entry in entries if (match := _CHECKPOINT.fullmatch(entry.name))]
    return sorted(found, reverse=True)


def state_files(folder: Path) -> Iterator[Path]:
    """Where a run's trainer state may be: in the folder, and in its checkpoints, newest first."""
    yield folder / STATE
    yield from (path / STATE for _, path in checkpoints(folder))


def _newest_state(folder: Path, notes: list[str]) -> tuple[dict[str, Any], float]:
    """The trainer state that has come furthest and can be read, and when it was written."""
    saved = checkpoints(folder)
    top = folder / STATE
    state = read_object(top, notes)
    at = _step_of({"step": state.get("global_step")}) or 0
    for step, path in saved:
        if state and step <= at:
            break
        if found := read_object(path / STATE, notes):
            return found, _time(path / STATE)
    return state, _time(top) if state else 0.0


def _joined(saved: list[Line], live: list[Line], *, saved_is_newer: bool) -> list[Line]:
    """One log of two: the newer file decides, and the other fills in what it lacks if it is of the same run."""
    if not live or not saved:
        return live or saved
    if not saved_is_newer:  # a checkpoint of an attempt that was given up may have come further
        saved = [line for line in saved if line["step"] <= live[-1]["step"]]
    if not _agree(saved, live):  # of two attempts in the same folder
        return saved if saved_is_newer else live
    older, newer = (live, saved) if saved_is_newer else (saved, live)
    found = {(line["step"], kind_of(line)): line for line in older}
    found |= {(line["step"], kind_of(line)): line for line in newer}
    return sorted(found.values(), key=lambda line: (line["step"], is_final(line)))


def _agree(one: list[Line], other: list[Line]) -> bool:
    """Whether two logs say the same of the steps that both have."""
    known = {(line["step"], kind_of(line)): line for line in one}
    pairs = ((line, known.get((line["step"], kind_of(line)), {})) for line in other)
    return all(mine.get(name, value) == value for line, mine in pairs for name, value in line.items())


def _step_of(line: Mapping[str, Any]) -> int | None:
    step = line.get("step")
    if isinstance(step, float) and step.is_integer():
        step = int(step)
    return step if isinstance(step, int) and not isinstance(step, bool) and 0 <= step < 2**53 else None


def _is_plain(value: Any) -> bool:
    if isinstance(value, int | float):
        return -_LARGEST < value < _LARGEST
    return isinstance(value, str) and len(value) <= 200


def _time(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
