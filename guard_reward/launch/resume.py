"""Where an interrupted run goes on."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING

from guard_reward.launch.errors import LaunchError

if TYPE_CHECKING:
    from transformers import TrainingArguments

__all__ = ["find_checkpoint"]

logger = logging.getLogger(__name__)

_STATE = "trainer_state.json"  # written last: a folder without it was not finished


def find_checkpoint(args: TrainingArguments) -> str | None:
    """The checkpoint folder to go on from, or None to start at the beginning.

    Args:
        args: ``resume_from_checkpoint`` is ``"auto"`` (the last finished checkpoint in ``output_dir``, or a fresh
            start where there is none), a checkpoint's folder, or None.

    Raises:
        LaunchError: a path that is no checkpoint.
    """
    wanted = args.resume_from_checkpoint
    if wanted is None:
        return None
    if wanted != "auto":
        if not _is_finished(Path(str(wanted))):
            raise LaunchError(
                f"resume_from_checkpoint: {wanted!r} is no checkpoint folder (it has no readable {_STATE}); "
                "'auto' takes the last one in output_dir, if there is any"
            )
        return str(wanted)
    found = _last_finished(Path(args.output_dir))
    logger.warning(
        "%s: %s", args.output_dir, f"going on from {found.name}" if found else "no checkpoint: a fresh start"
    )
    return str(found) if found else None


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
