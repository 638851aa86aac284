"""A tiny world to try guard rewards from end to end: minutes on two CPU cores, no network.

    from guard_reward.tiny import load_tiny_guard, build_tiny_policy
    guard = load_tiny_guard()                 # a real checkpoint through the real loader
    policy_folder = build_tiny_policy()       # goes into GRPOTrainer(model=...)

- `world`: the vocabulary, requests and replies; `nonsense`: text outside it; `oracle`: the exact judge.
- `tokenizer`, `training`, `guard`, `stream_guard`, `policy`: small Qwen3 checkpoints. Seed 0 comes with the package
  (`shipped`); other seeds are trained and cached (`recipe`, `cache`). `beginnings`: the oracle on unfinished replies.
  `blind_spot`: a guard that overlooks a phrase, for reward hacking that is known to come.
- `evaluate`: a policy's numbers by the oracle.
- `demo`: two GRPO runs (`grpo`), judged, and their output (`results`); `files`: the world as files for the recipes.

The tiny world uses the library as its users do; the library does not depend on it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
