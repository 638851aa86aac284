"""Guards: conversations in, verdicts out.

- `guard_reward.guards.loading`: `load_guard`.
- `guard_reward.guards.spec`: `GuardSpec`, everything about a guard family; `guard_reward.guards.specs`: built-in ones.
- `guard_reward.guards.answer`, `guard_reward.guards.grammar`: the format of answers, for parsing and for drafting.
- `guard_reward.guards.transformers_guard`: `TransformersGuard`, a checkpoint in this process.
- `guard_reward.guards.served_guard`: `ServedGuard`, a guard behind servers; `guard_reward.guards.served`: how they are
  asked.
- `guard_reward.guards.vllm_guard`: `VLLMGuard`, a guard that vLLM runs for this process.
- `guard_reward.guards.windows`: judging more text than the guard's context holds.

Knows text, tokenizers and models; does not know rewards or trainers. Importing it loads no torch.
"""

import lazy_loader

from guard_reward._renamed import renamed_names

_getattr, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__getattr__ = renamed_names(__name__, "Guard", current=_getattr)
