"""A guard model as a reward in reinforcement learning.

    from guard_reward import GuardReward
    trainer = GRPOTrainer(model="Qwen/Qwen3-4B", reward_funcs=GuardReward("Qwen/Qwen3Guard-Gen-4B"), ...)

Importing this package is light: a public name is imported from its module when it is first used. The names and their
modules are listed in ``__init__.pyi``.
"""

import lazy_loader

from guard_reward import _renamed as _renamed
from guard_reward._version import __version__ as __version__

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
