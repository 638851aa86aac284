"""Ready reward functions under a dotted path, for ``trl grpo --reward_funcs guard_reward.presets.guard_only``.

The guard is named by the environment variable ``GUARD_REWARD_MODEL`` (hub id or folder; default
``Qwen/Qwen3Guard-Gen-0.6B``), its revision by ``GUARD_REWARD_REVISION``, and for `hybrid` the helpfulness model by
``GUARD_REWARD_HELPFULNESS``. It is loaded when the first batch is judged, once a process.
Use one preset in a run: their metrics and columns have the same names.
"""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from guard_reward.guards import Guard
    from guard_reward.reward import GuardReward

__all__ = ["DEFAULT_GUARD", "guard_only", "hybrid", "severity", "soft"]

DEFAULT_GUARD = "Qwen/Qwen3Guard-Gen-0.6B"


@cache
def _guard() -> Guard:
    from guard_reward.guards import load_guard

    return load_guard(
        os.environ.get("GUARD_REWARD_MODEL", DEFAULT_GUARD), revision=os.environ.get("GUARD_REWARD_REVISION")
    )


@cache
def _reward(scheme: str) -> GuardReward:
    from guard_reward.reward import GuardReward

    helpfulness = os.environ.get("GUARD_REWARD_HELPFULNESS")
    if scheme == "hybrid" and not helpfulness:
        raise ValueError("the hybrid preset needs GUARD_REWARD_HELPFULNESS: a reward model's hub id or folder")
    return GuardReward(_guard(), scheme, helpfulness=helpfulness)


def guard_only(**batch: Any) -> list[float | None]:
    """`guard_reward.schemes.GuardOnly`, strict."""
    return _reward("guard_only")(**batch)


def hybrid(**batch: Any) -> list[float | None]:
    """`guard_reward.schemes.Hybrid` with the report's caps; needs ``GUARD_REWARD_HELPFULNESS``."""
    return _reward("hybrid")(**batch)


def severity(**batch: Any) -> list[float | None]:
    """`guard_reward.schemes.SeverityTable`: 1, 0, -1."""
    return _reward("severity")(**batch)


def soft(**batch: Any) -> list[float | None]:
    """`guard_reward.schemes.Soft` of `GuardOnly`: the guard's P(Safe)."""
    return _reward("soft")(**batch)
