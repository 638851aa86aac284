"""Trainers on TRL: PPO, which TRL itself has not had since version 1.13.

    from guard_reward.trainers import PPOConfig, PPOTrainer
    trainer = PPOTrainer(model="Qwen/Qwen3-4B", reward_funcs=GuardReward(...), args=PPOConfig(...), train_dataset=...)

- `ppo`: the trainer, a thin subclass of TRL's `GRPOTrainer`; `ppo_config`: its settings.
- `critic`: the value head on the policy's hidden states, with its own optimizer; `advantages`: GAE and its relatives.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from guard_reward.trainers.ppo import PPOTrainer
    from guard_reward.trainers.ppo_config import PPOConfig

_HOMES = {"PPOConfig": "guard_reward.trainers.ppo_config", "PPOTrainer": "guard_reward.trainers.ppo"}

__all__ = ["PPOConfig", "PPOTrainer"]


def __getattr__(name: str) -> Any:
    """Import a public name from its home when it is first used."""
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'guard_reward.trainers' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
