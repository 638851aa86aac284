"""How fast a guard is scored: what a user could do instead, and this library, in one run on the same token ids.

Speeds measured at different times, or in different programs, cannot be compared: machines are shared and throttled. So
the variants take turns, round after round, on new rows each time; before any ratio is given, all of them must have
given the same answers.

- `guard_reward.speed.variants`: ways to get verdicts;
- `guard_reward.speed.roofline`: the time that nobody can beat;
- `guard_reward.speed.compare`: taking turns;
- `guard_reward.speed.check`: the short form for a user's own guard.
"""

from guard_reward.speed.compare import OutputMismatch, Result, Variant, compare
from guard_reward.speed.roofline import Roofline
from guard_reward.speed.variants import batched_generate, model_card, one_pass

__all__ = ["OutputMismatch", "Result", "Roofline", "Variant", "batched_generate", "compare", "model_card", "one_pass"]
