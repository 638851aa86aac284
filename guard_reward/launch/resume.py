"""Which checkpoint a run resumes from, and whether its settings are those of the interrupted run."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guard_reward.errors import UserError, shortened
from guard_reward.launch.record import read_record, recorded

if TYPE_CHECKING:
    from transformers import TrainingArguments

__all__ = ["find_checkpoint"]

logger = logging.getLogger(__name__)

_STATE = "trainer_state.json"  # written last: a folder without it was not finished
_OFF = ("none", "false")

# Settings that must not change when a run resumes. Its length, its saving and its fit to the machine may change.
_SETTINGS = {
    "ModelConfig": ("model_name_or_path", "model_revision"),
    "GuardRewardConfig": (
        "guard",
        "guard_revision",
        "scheme",
        "scheme_kwargs",
        "controversial",
        "thinking",
        "guard_system_prompt",
        "helpfulness",
        "helpfulness_revision",
        "on_outcome",
    ),
    "DataConfig": ("datasets",),
}
_NOT_IN_OLD_RECORDS = {"guard_system_prompt": "show"}
_NEW_NAMES = {"scheme_values": "scheme_kwargs", "share": "fraction"}
_NEW_VALUES = {"guard_reward.tiny.grpo.oracle_helpfulness": "guard_reward.tiny.oracle.oracle_helpfulness"}


def find_checkpoint(args: TrainingArguments, configs: Sequence[Any] = ()) -> str | None:
    """The checkpoint folder to resume from, or None for a fresh start.

    Args:
        args: ``resume_from_checkpoint`` is ``"auto"`` (the last finished checkpoint in ``output_dir``, or a fresh
            start if there is none), a checkpoint's folder, or ``"none"``, ``"false"`` or None for a fresh start.
        configs: all configs of the run, including `args`. With ``"auto"`` they must match ``run_config.json`` in
            ``output_dir``; with a checkpoint's folder they may differ.

    Raises:
        UserError: a path that is not a checkpoint, or an ``output_dir`` of a run with other settings; names them.
    """
    wanted = args.resume_from_checkpoint
    if wanted is None or str(wanted).lower() in _OFF:
        return None
    if wanted != "auto":
        if not _is_finished(Path(str(wanted))):
            raise UserError(
                f"resume_from_checkpoint: {wanted!r} is not a checkpoint folder (it has no readable {_STATE}); "
                "'auto' takes the last one in output_dir"
            )
        return str(wanted)
    found = _last_finished(Path(args.output_dir))
    if found is None:
        logger.warning("%s has no checkpoint: starting fresh", args.output_dir)
        return None
    _check_same_run(args, configs, found)
    _log_resume(args, found)
    return str(found)


def _check_same_run(args: TrainingArguments, configs: Sequence[Any], found: Path) -> None:
    """Refuse to resume with changed settings: no config would describe the result.

    Raises:
        UserError: names the settings that differ.
    """
    before = read_record(Path(args.output_dir)).get("configs")
    changes = _changes(before, configs, trainer=type(args).__name__) if isinstance(before, dict) else {}
    if changes:
        was = ", ".join(f"{name}={shortened(old, 200)}" for name, (old, _) in changes.items())
        now = ", ".join(f"{name}={shortened(new, 200)}" for name, (_, new) in changes.items())
        raise UserError(
            f"output_dir: {args.output_dir} was made with {was}, now {now}: give another --output_dir, or name the "
            f"checkpoint to resume with these settings: --resume_from_checkpoint {found}"
        )


def _changes(before: Mapping[str, Any], configs: Sequence[Any], trainer: str) -> dict[str, tuple[Any, Any]]:
    """Settings that make it another run: name → old and new value."""
    changes: dict[str, tuple[Any, Any]] = {}
    for config in configs:
        name = type(config).__name__
        if name == trainer and name not in before:
            changes["algorithm"] = (next((other for other in before if other not in _SETTINGS), None), name)
        if not isinstance(before.get(name), dict):
            continue
        old, new = _NOT_IN_OLD_RECORDS | _with_new_names(before[name]), _with_new_names(recorded(config))
        for setting in ("seed",) if name == trainer else _SETTINGS.get(name, ()):
            # Unset, null and {} are alike, so that records of older versions compare equal.
            if (old.get(setting) or None) != (new.get(setting) or None):
                changes[setting] = (old.get(setting), new.get(setting))
    return changes


def _with_new_names(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A config of an older version's record under the present names."""
    renamed = _renamed(settings)
    if isinstance(sets := renamed.get("datasets"), list):
        renamed["datasets"] = [_renamed(entry) if isinstance(entry, dict) else entry for entry in sets]
    return renamed


def _renamed(settings: Mapping[str, Any]) -> dict[str, Any]:
    old = {_NEW_NAMES[name]: value for name, value in settings.items() if name in _NEW_NAMES}
    settings = {**old, **{name: value for name, value in settings.items() if name not in _NEW_NAMES}}
    return {
        name: _NEW_VALUES.get(value, value) if isinstance(value, str) else value for name, value in settings.items()
    }


def _log_resume(args: TrainingArguments, found: Path) -> None:
    step = int(found.name.rpartition("-")[2])
    if 0 < args.max_steps <= step:
        logger.warning(
            "%s: %s has already reached max_steps (%d), so nothing is left to train. Raise --max_steps to train on, or "
            "give another --output_dir for a new run",
            args.output_dir,
            found.name,
            args.max_steps,
        )
    else:
        logger.warning("%s: resuming from %s", args.output_dir, found.name)


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
        logger.warning("%s is not finished: skipped", path)
    return None


def _is_finished(folder: Path) -> bool:
    try:
        return "global_step" in json.loads((folder / _STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
