"""A tiny world in which guard rewards can be tried from end to end: minutes on two CPU cores, no network.

    from guard_reward.tiny import load_tiny_guard, build_tiny_policy
    guard = load_tiny_guard()                 # a real checkpoint through the real loader, built once and cached
    policy_folder = build_tiny_policy()       # goes into GRPOTrainer(model=...)

- `world`: the vocabulary, requests and replies; `nonsense`: text outside it; `oracle`: the exact judge.
- `tokenizer`, `training`, `guard`, `policy`: small Qwen3 checkpoints, trained here; `cache`: built once.
- `evaluate`, `statistics`: a policy's numbers by the oracle.
- `demo`: two GRPO runs (`grpo`), judged, and what they leave behind (`results`).

This room uses the library as its users do; nothing outside it knows that it exists.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from guard_reward.tiny.demo import run_demo
    from guard_reward.tiny.guard import build_tiny_guard, load_tiny_guard
    from guard_reward.tiny.policy import build_tiny_policy

_HOMES = {
    "build_tiny_guard": "guard_reward.tiny.guard",
    "build_tiny_policy": "guard_reward.tiny.policy",
    "load_tiny_guard": "guard_reward.tiny.guard",
    "run_demo": "guard_reward.tiny.demo",
}

__all__ = ["build_tiny_guard", "build_tiny_policy", "load_tiny_guard", "run_demo"]


def __getattr__(name: str) -> Any:
    """Import a public name from its home when it is first used."""
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'guard_reward.tiny' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
