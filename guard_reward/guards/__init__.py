"""Guards: conversations in, verdicts out.

- `guard_reward.guards.base`: what every guard offers.
- `guard_reward.guards.local`: `TransformersGuard`, a checkpoint in this process.
- `guard_reward.guards.loading`: `load_guard` and everything about getting a checkpoint onto its device whole.
- `guard_reward.guards.sleep`: `Sleeper`, a model that gives its accelerator's memory back between two uses.
- `guard_reward.guards.windows`: judging more text than the guard's context holds.

This room knows text, tokenizers and models; it knows nothing of rewards or trainers.
"""

from guard_reward.guards.base import Guard
from guard_reward.guards.loading import load_guard
from guard_reward.guards.local import TransformersGuard

__all__ = ["Guard", "TransformersGuard", "load_guard"]
