"""One-pass verdict scoring over a causal language model.

This room knows token ids, logits and caches. It knows no text, no conversations and no rewards: token ids in, the
model's exact greedy answer out, with the log-probabilities of the tokens that decide a verdict. In the order of a
batch's way through it:

- `guard_reward.scoring.batching`: which rows share a batch, and what happens when memory runs out;
- `guard_reward.scoring.memory`: how much fits;
- `guard_reward.scoring.engine`: draft, one forward, verify, continue;
- `guard_reward.scoring.draft`: trees of guesses, and what the engine asks of a grammar;
- `guard_reward.scoring.prefixes`: beginnings that rows share are computed once;
- `guard_reward.scoring.kv_cache`: keys and values, one slot a token;
- `guard_reward.scoring.packing`: one pass as a packed sequence, and who sees whom;
- `guard_reward.scoring.model_runner`: two ways through the model, with `guard_reward.scoring.attention` in both.
"""

from guard_reward.scoring.batching import BatchRunner, plan_batches, plan_padded_batches
from guard_reward.scoring.draft import Decision, Draft, Grammar
from guard_reward.scoring.engine import Generation, Usage, VerdictEngine
from guard_reward.scoring.memory import token_budget
from guard_reward.scoring.model_runner import FastRoad, GenericRoad, Road, choose_road

__all__ = [
    "BatchRunner",
    "Decision",
    "Draft",
    "FastRoad",
    "Generation",
    "GenericRoad",
    "Grammar",
    "Road",
    "Usage",
    "VerdictEngine",
    "choose_road",
    "plan_batches",
    "plan_padded_batches",
    "token_budget",
]
