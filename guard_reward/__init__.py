"""A guard model as a reward in reinforcement learning.

    from guard_reward import GuardReward
    trainer = GRPOTrainer(model="Qwen/Qwen3-4B", reward_funcs=GuardReward("Qwen/Qwen3Guard-Gen-4B"), ...)

Importing this package is light: torch and transformers are imported when a name needs them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from guard_reward import schemes
    from guard_reward.breaker import CircuitBreaker, GuardOutageError
    from guard_reward.combination import combine
    from guard_reward.guards import Guard, TransformersGuard, load_guard
    from guard_reward.helpfulness import RewardModel
    from guard_reward.reward import GuardReward
    from guard_reward.rollout import Rollout
    from guard_reward.schemes import Assessment
    from guard_reward.verdict import Category, Outcome, Probabilities, Severity, Unjudged, Verdict, parse_verdict

__version__ = "0.1.0"

_HOMES = {
    "Assessment": "guard_reward.schemes",
    "Category": "guard_reward.verdict",
    "CircuitBreaker": "guard_reward.breaker",
    "Guard": "guard_reward.guards",
    "GuardOutageError": "guard_reward.breaker",
    "GuardReward": "guard_reward.reward",
    "Outcome": "guard_reward.verdict",
    "Probabilities": "guard_reward.verdict",
    "RewardModel": "guard_reward.helpfulness",
    "Rollout": "guard_reward.rollout",
    "Severity": "guard_reward.verdict",
    "TransformersGuard": "guard_reward.guards",
    "Unjudged": "guard_reward.verdict",
    "Verdict": "guard_reward.verdict",
    "combine": "guard_reward.combination",
    "load_guard": "guard_reward.guards",
    "parse_verdict": "guard_reward.verdict",
}

__all__ = [
    "Assessment",
    "Category",
    "CircuitBreaker",
    "Guard",
    "GuardOutageError",
    "GuardReward",
    "Outcome",
    "Probabilities",
    "RewardModel",
    "Rollout",
    "Severity",
    "TransformersGuard",
    "Unjudged",
    "Verdict",
    "combine",
    "load_guard",
    "parse_verdict",
    "schemes",
]


def __getattr__(name: str) -> Any:
    """Import a public name from its home when it is first used."""
    if name == "schemes":
        return importlib.import_module("guard_reward.schemes")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'guard_reward' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
