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

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
