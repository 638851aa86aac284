"""What a stream guard does while a policy generates.

- `guard_reward.streaming.text_feed`: a policy's growing text as the guard's tokens, whatever tokenizer the policy has.
- `guard_reward.streaming.stopping`: `UnsafeStoppingCriteria` ends each row of a batch at its first flagged token.
- `guard_reward.streaming.rollouts`: `StopUnsafe` does so in the rollouts of TRL's trainers.
- `guard_reward.streaming.intervention`: `generate_safely` detects, rolls back and intervenes (CARE).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
