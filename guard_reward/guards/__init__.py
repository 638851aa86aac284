"""Guards: conversations in, verdicts out.

- `guard_reward.guards.loading`: `load_guard`.
- `guard_reward.guards.transformers_guard`: `TransformersGuard`, a checkpoint in this process.
- `guard_reward.guards.windows`: judging more text than the guard's context holds.

Knows text, tokenizers and models; knows nothing of rewards or trainers. Importing it loads no torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
