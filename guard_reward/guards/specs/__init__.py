"""The guard families that are built in, one file each, and how a checkpoint finds its own."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Mapping

from guard_reward.guards.spec import GuardSpec
from guard_reward.guards.specs.qwen3guard import QWEN3GUARD

__all__ = ["SPECS", "find_spec"]

logger = logging.getLogger(__name__)

SPECS: Mapping[str, GuardSpec] = {spec.name: spec for spec in (QWEN3GUARD,)}
"""Specifications by name."""


def find_spec(name: str, chat_template: str | None, architectures: Collection[str] = ()) -> GuardSpec:
    """The specification of a checkpoint: by its architecture, its chat template or its name.

    Args:
        name: hub id or folder.
        chat_template: of its tokenizer.
        architectures: of its config.

    Returns:
        The first specification that fits; Qwen3Guard's, with a warning, if none does.

    >>> find_spec("Qwen/Qwen3Guard-Gen-0.6B", None).name
    'qwen3guard'
    """
    for spec in SPECS.values():
        if (
            set(spec.architectures) & set(architectures)
            or (spec.template_pattern and re.search(spec.template_pattern, chat_template or ""))
            or (spec.name_pattern and re.search(spec.name_pattern, name))
        ):
            return spec
    logger.warning(
        "%s is not a guard of a known family (%s): its answers are read as %s's. Pass spec= to describe its own format",
        name,
        ", ".join(SPECS),
        QWEN3GUARD.name,
    )
    return QWEN3GUARD
