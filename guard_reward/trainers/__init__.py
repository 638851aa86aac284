"""Trainers on TRL: PPO, which TRL itself has not had since version 1.13.

    from guard_reward.trainers import PPOConfig, PPOTrainer
    trainer = PPOTrainer(model="Qwen/Qwen3-4B", reward_funcs=GuardReward(...), args=PPOConfig(...), train_dataset=...)

- `ppo`: the trainer, a thin subclass of TRL's `GRPOTrainer`; `ppo_config`: its settings.
- `critic`: the value head on the policy's hidden states, with its own optimizer; `advantages`: GAE and its relatives.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
