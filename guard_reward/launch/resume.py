"""Where an interrupted run goes on, and whether it is the same run."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guard_reward.errors import UserError
from guard_reward.launch.record import read_record, recorded

if TYPE_CHECKING:
    from transformers import TrainingArguments

__all__ = ["find_checkpoint"]

logger = logging.getLogger(__name__)

_STATE = "trainer_state.json"  # written last: a folder without it was not finished
_OFF = ("none", "false")

# What makes a run what it is. How long it is, how often it saves and how it fits onto a machine may change on the way.
_SETTINGS = {
    "ModelConfig": ("model_name_or_path", "model_revision"),
    "GuardRewardConfig": (
        "guard",
        "guard_revision",
        "scheme",
        "scheme_values",
        "controversial",
        "thinking",
        "helpfulness",
        "helpfulness_revision",
        "on_outcome",
    ),
    "DataConfig": ("datasets",),
}


def find_checkpoint(args: TrainingArguments, configs: Sequence[Any] = ()) -> str | None:
    """The checkpoint folder to go on from, or None to start at the beginning.

    Args:
        args: ``resume_from_checkpoint`` is ``"auto"`` (the last finished checkpoint in ``output_dir``, or a fresh
            start where there is none), a checkpoint's folder, or ``"none"``, ``"false"`` or None for the beginning.
        configs: all that the run is started with, `args` among them. With ``"auto"`` they have to be those of the run
            in ``output_dir``, by its ``run_config.json``; a checkpoint that is named goes on with other settings.

    Raises:
        UserError: a path that is no checkpoint; another run's ``output_dir``, with what differs.
    """
    wanted = args.resume_from_checkpoint
    if wanted is None or str(wanted).lower() in _OFF:
        return None
    if wanted != "auto":
        if not _is_finished(Path(str(wanted))):
            raise UserError(
                f"resume_from_checkpoint: {wanted!r} is no checkpoint folder (it has no readable {_STATE}); "
                "'auto' takes the last one in output_dir, if there is any"
            )
        return str(wanted)
    found = _last_finished(Path(args.output_dir))
    if found is None:
        logger.warning("%s: no checkpoint: a fresh start", args.output_dir)
        return None
    _check_same_run(args, configs, found)
    _tell(args, found)
    return str(found)


def _check_same_run(args: TrainingArguments, configs: Sequence[Any], found: Path) -> None:
    """Going on with other settings would be a run that nobody described: half of it the old, half the new."""
    before = read_record(Path(args.output_dir)).get("configs")
    if not isinstance(before, dict):
        return
    if changed := list(_changes(before, configs, trainer=type(args).__name__)):
        was, now = (", ".join(f"{name}={_short(pair[side])}" for name, *pair in changed) for side in (0, 1))
        raise UserError(
            f"output_dir: {args.output_dir} was made with {was}, now {now}: give another --output_dir, or name the "
            f"checkpoint to go on with these settings: --resume_from_checkpoint {found}"
        )


def _changes(before: dict[str, Any], configs: Sequence[Any], trainer: str) -> Iterator[tuple[str, Any, Any]]:
    """Settings that make another run: name, what it was, what it is."""
    for config in configs:
        name = type(config).__name__
        if name == trainer and name not in before:
            yield "algorithm", next((other for other in before if other not in _SETTINGS), None), name
        if not isinstance(was := before.get(name), dict):
            continue
        now = recorded(config)
        for setting in ("seed",) if name == trainer else _SETTINGS.get(name, ()):
            # Nothing said is the same as nothing there: {} and null, and a setting that older versions do not know.
            if (was.get(setting) or None) != (now.get(setting) or None):
                yield setting, was.get(setting), now.get(setting)


def _tell(args: TrainingArguments, found: Path) -> None:
    step = int(found.name.rpartition("-")[2])
    if 0 < args.max_steps <= step:
        logger.warning(
            "%s: %s has reached max_steps (%d) already: nothing is left to train. Raise --max_steps to train on, or "
            "give another --output_dir for a new run",
            args.output_dir,
            found.name,
            args.max_steps,
        )
    else:
        logger.warning("%s: going on from %s", args.output_dir, found.name)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:197]}..."


def _last_finished(folder: Path) -> Path | None:
    """The finished checkpoint with the highest step."""
    steps = {
        int(match[1]): path
        for path in folder.glob("checkpoint-*")
        if (match := re.fullmatch(r"checkpoint-(\d+)", path.name))
    }
    for _, path in sorted(steps.items(), reverse=True):
        if _is_finished(path):
            return path
        logger.warning("%s was not written to its end: passed over", path)
    return None


def _is_finished(folder: Path) -> bool:
    try:
        return "global_step" in json.loads((folder / _STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
