"""The reward's settings of a recipe's file, without the rest of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from guard_reward.errors import UserError, one_line
from guard_reward.launch.config import GuardRewardConfig
from guard_reward.launch.unset import is_nothing

__all__ = ["read_reward_file"]


def read_reward_file(path: Path) -> dict[str, Any]:
    """The values of `GuardRewardConfig` in a recipe's YAML file; those of the trainer and the prompts are left out.

    Raises:
        UserError: the file is no YAML mapping, or names no guard.
        OSError: it cannot be read.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"config: '{path}' is not YAML: {one_line(error)}") from error
    if not isinstance(values, Mapping):
        raise UserError(f"config: '{path}' should be a mapping of settings")
    known = {field.name for field in fields(GuardRewardConfig)}
    found = {name: value for name, value in values.items() if name in known and not is_nothing(value)}
    if "guard" not in found:
        raise UserError(f"config: '{path}' names no guard")
    return found
