"""The guard families that are built in, one file each, and how a checkpoint finds its own."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Mapping

from guard_reward.guards.spec import GuardSpec
from guard_reward.guards.specs.granite_guardian import GRANITE_GUARDIAN, GRANITE_GUARDIAN_33, granite_guardian_33
from guard_reward.guards.specs.llama_guard import LLAMA_GUARD, LLAMA_GUARD_1B
from guard_reward.guards.specs.nemotron import NEMOTRON, NEMOTRON_JSON, nemotron
from guard_reward.guards.specs.polyguard import POLYGUARD
from guard_reward.guards.specs.qwen3guard import QWEN3GUARD
from guard_reward.guards.specs.rubric import RUBRIC, rubric
from guard_reward.guards.specs.shieldgemma import SHIELDGEMMA, shieldgemma
from guard_reward.guards.specs.wildguard import WILDGUARD

__all__ = ["SPECS", "WITH_POLICY", "find_spec"]

logger = logging.getLogger(__name__)

_ALL = (
    *(QWEN3GUARD, WILDGUARD, LLAMA_GUARD_1B, LLAMA_GUARD, GRANITE_GUARDIAN_33, GRANITE_GUARDIAN, SHIELDGEMMA),
    *(NEMOTRON, NEMOTRON_JSON, POLYGUARD, RUBRIC),
)
SPECS: Mapping[str, GuardSpec] = {spec.name: spec for spec in _ALL}
"""Specifications by name. Where two fit a checkpoint, the first one is its own."""

WITH_POLICY: Mapping[str, Callable[[str], GuardSpec]] = {
    RUBRIC.name: rubric,
    NEMOTRON.name: nemotron,
    GRANITE_GUARDIAN_33.name: lambda policy: granite_guardian_33(custom_criteria=policy),
    SHIELDGEMMA.name: shieldgemma,
}
"""Families that take a policy in the user's own words: name → the specification with one."""


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
