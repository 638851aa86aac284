"""From a YAML file to a running trainer: what the recipes share.

    with clean_errors():
        guard, data, config, model = parse((GuardRewardConfig, DataConfig, GRPOConfig, ModelConfig), __doc__)
        train_dataset, eval_dataset = load_prompts(data, config)
        reward = build_reward(guard, model, config)

One idea a file:

- `config`: the reward's own settings, and the reward made of them; `values`: a scheme's values as its fields take
  them; `policy`: what the reward has to know of the policy.
- `data`: prompt sets, labelled and mixed.
- `parsing`: YAML file and command line through TRL's parser; `errors`: a user's mistake is one line.
- `resume`: where an interrupted run goes on, and whether it is the same run; `record`: what is saved beside the model.
- `files`: where recipes and configs are, and copies of them.

This room knows TRL's configs; it knows no trainer: those are the recipes' own lines.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from guard_reward.launch.config import GuardRewardConfig, build_reward
    from guard_reward.launch.data import DataConfig, PromptSet, load_prompts
    from guard_reward.launch.errors import LaunchError, clean_errors
    from guard_reward.launch.parsing import parse
    from guard_reward.launch.policy import PolicyFacts, model_init_kwargs, read_policy
    from guard_reward.launch.record import write_record
    from guard_reward.launch.resume import find_checkpoint

_HOMES = {
    "DataConfig": "data",
    "GuardRewardConfig": "config",
    "LaunchError": "errors",
    "PolicyFacts": "policy",
    "PromptSet": "data",
    "build_reward": "config",
    "clean_errors": "errors",
    "find_checkpoint": "resume",
    "load_prompts": "data",
    "model_init_kwargs": "policy",
    "parse": "parsing",
    "read_policy": "policy",
    "write_record": "record",
}

__all__ = [
    "DataConfig",
    "GuardRewardConfig",
    "LaunchError",
    "PolicyFacts",
    "PromptSet",
    "build_reward",
    "clean_errors",
    "find_checkpoint",
    "load_prompts",
    "model_init_kwargs",
    "parse",
    "read_policy",
    "write_record",
]


def __getattr__(name: str) -> Any:
    """Import a public name from its home when it is first used."""
    if name in _HOMES:
        return getattr(importlib.import_module(f"guard_reward.launch.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'guard_reward.launch' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
