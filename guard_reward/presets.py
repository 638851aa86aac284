"""Ready reward functions under a dotted path, for ``trl grpo --reward_funcs guard_reward.presets.guard_only``.

The guard is named by the environment variable ``GUARD_REWARD_MODEL`` (hub id, folder or URL of its server; default
``Qwen/Qwen3Guard-Gen-0.6B``), its revision by ``GUARD_REWARD_REVISION``, and for the presets that need helpfulness its
model by ``GUARD_REWARD_HELPFULNESS``. The guard is loaded when the first batch is judged, once a process.
Use one preset in a run: their metrics and columns have the same names.
"""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from guard_reward.rewards.reward import GuardReward
    from guard_reward.verdict import Guard

__all__ = [
    "DEFAULT_GUARD",
    "appropriate_refusal",
    "boundary",
    "guard_only",
    "hybrid",
    "lagrangian",
    "response_policy",
    "safe_completion",
    "severity",
    "soft",
    "token_score",
]

DEFAULT_GUARD = "Qwen/Qwen3Guard-Gen-0.6B"
"""The guard, if ``GUARD_REWARD_MODEL`` names none."""


def guard_of_environment() -> tuple[str, str | None]:
    """The guard that ``GUARD_REWARD_MODEL`` names, or the default one, and ``GUARD_REWARD_REVISION``; no preset."""
    return os.environ.get("GUARD_REWARD_MODEL") or DEFAULT_GUARD, os.environ.get("GUARD_REWARD_REVISION") or None


@cache
def _guard() -> Guard:
    from guard_reward.guards import load_guard

    guard, revision = guard_of_environment()
    return load_guard(guard, revision=revision)


@cache
def _reward(scheme: str) -> GuardReward:
    from guard_reward.rewards.reward import GuardReward
    from guard_reward.schemes import SCHEMES

    helpfulness = os.environ.get("GUARD_REWARD_HELPFULNESS")
    if SCHEMES[scheme]().needs_helpfulness and not helpfulness:
        raise ValueError(f"the {scheme} preset needs GUARD_REWARD_HELPFULNESS: a reward model's hub id or folder")
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


def appropriate_refusal(**batch: Any) -> list[float | None]:
    """`guard_reward.schemes.AppropriateRefusal`: 1, 0 for refusing a safe prompt, -1 for anything unsafe."""
    return _reward("appropriate_refusal")(**batch)


def lagrangian(**batch: Any) -> list[float | None]:
    """`guard_reward.schemes.Lagrangian`: at most 5% unsafe; needs ``GUARD_REWARD_HELPFULNESS``."""
    return _reward("lagrangian")(**batch)


def safe_completion(**batch: Any) -> list[float | None]:
    """`guard_reward.schemes.SafeCompletion` for scores from 0 to 1; needs ``GUARD_REWARD_HELPFULNESS``."""
    return _reward("safe_completion")(**batch)


def boundary(**batch: Any) -> list[float | None]:
    """`guard_reward.schemes.Boundary` at the cutoff 0.5; needs ``GUARD_REWARD_HELPFULNESS``."""
    return _reward("boundary")(**batch)


def token_score(**batch: Any) -> list[float | None]:
    """`guard_reward.schemes.TokenScore`, the lowest P(Safe); ``GUARD_REWARD_MODEL`` must be a stream guard."""
    return _reward("token_score")(**batch)


def response_policy(**batch: Any) -> list[float | None]:
    """`guard_reward.schemes.ResponsePolicy` with its own table and English patterns."""
    return _reward("response_policy")(**batch)
