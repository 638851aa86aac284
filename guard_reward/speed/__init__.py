"""How fast a guard is scored: what a user could do instead, and this library, in one run on the same token ids.

Speeds measured at different times, or in different programs, cannot be compared: machines are shared and throttled. So
the variants take turns, round after round, on new rows each time. A ratio is given only if all variants gave the same
answers.

- `guard_reward.speed.variants`: ways to get verdicts;
- `guard_reward.speed.roofline`: the least time that the arithmetic can take;
- `guard_reward.speed.compare`: the variants take turns;
- `guard_reward.speed.check`: the short form for a user's own guard.
"""

from guard_reward._renamed import renamed_names
from guard_reward.speed.compare import OutputMismatch, Result, Variant, compare_speeds
from guard_reward.speed.roofline import Roofline
from guard_reward.speed.variants import batched_generate, model_card, one_pass

__all__ = [
    "OutputMismatch",
    "Result",
    "Roofline",
    "Variant",
    "batched_generate",
    "compare_speeds",
    "model_card",
    "one_pass",
]

__getattr__ = renamed_names(__name__, "Disagreement", "Floor", "race")
