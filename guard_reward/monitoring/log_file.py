"""Every log line of a run in a file, as soon as it is logged.

transformers writes its log to ``trainer_state.json`` with each checkpoint. Until the first one, and between two, a
killed run has no log, and nothing outside the process can see how a run goes. `LogFile` appends each entry of
``trainer.state.log_history`` to ``<output_dir>/log.jsonl``:

    trainer = GRPOTrainer(..., callbacks=[LogFile()])

    {"loss": 0.0, "reward": 0.71, "guard/safe_rate": 0.94, …, "step": 10}
    {"eval_loss": 0.0, "eval_guard/safe_rate": 0.97, …, "step": 10}

One JSON object per line, ASCII, with ``step``. Numbers that JSON does not have (NaN, infinity) are null. While a run
goes on, the last line may be half written: a reader takes the lines that end in a line break.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from guard_reward.files import append_lines, keep_aside, replacing

__all__ = ["LOG_FILE", "LogFile"]

LOG_FILE = "log.jsonl"


class LogFile(TrainerCallback):
    """Keeps ``<output_dir>/log.jsonl`` equal to ``trainer.state.log_history``; on the main process only.

    A training that begins writes the file anew: with the entries that its checkpoint has, if it is resumed, so steps
    that it repeats are not there twice; otherwise empty, and the file of an earlier training becomes ``log.1.jsonl``
    (or the next free number). Then each entry is appended and flushed. Entries of an
    evaluation before or after the training are appended too. A file that cannot be written, as on a full disk, is
    warned about once, and never stops a training.
    """

    def __init__(self) -> None:
        self._is_training = False
        self._before: list[str] = []  # entries of this process from before its training
        self._has_warned = False

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Begin the file."""
        self._is_training = True
        if state.is_world_process_zero:
            lines = [*self._before, *map(_as_line, state.log_history)]
            path = Path(args.output_dir) / LOG_FILE
            if not state.log_history:
                self._try(_keep_earlier, path, "".join(self._before))
            self._try(_write_anew, path, lines)

    def on_log(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Append the newest entry."""
        if state.is_world_process_zero and state.log_history:
            line = _as_line(state.log_history[-1])
            if not self._is_training:
                self._before.append(line)
            self._try(append_lines, Path(args.output_dir) / LOG_FILE, line)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """What is logged now is no longer the training's."""
        self._is_training = False
        self._before = []

    def _try(self, write: Any, path: Path, content: Any) -> None:
        try:
            write(path, content)
        except OSError as error:
            if not self._has_warned:
                self._has_warned = True
                warnings.warn(
                    f"{path} cannot be written ({error.strerror or error}): log lines are missing there; the training "
                    "goes on",
                    stacklevel=2,
                )


def _keep_earlier(path: Path, own: str) -> None:
    """Keep what another training has logged, if that is more than this process's own lines."""
    if path.is_file() and path.stat().st_size and path.read_bytes() != own.encode():
        keep_aside(path)


def _write_anew(path: Path, lines: Iterable[str]) -> None:
    with replacing(path) as part:
        part.write_text("".join(lines), encoding="utf-8")


def _as_line(entry: Mapping[str, Any]) -> str:
    return json.dumps(_for_json(entry)) + "\n"


def _for_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _for_json(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_for_json(item) for item in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    if not isinstance(value, float) and callable(getattr(value, "item", None)):  # of NumPy or torch
        try:
            return _for_json(value.item())
        except (TypeError, ValueError, RuntimeError):  # more than one number
            return str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)
