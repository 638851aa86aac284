"""One-pass verdict scoring over a causal language model.

This room knows token ids, logits and caches. It knows no text, no conversations and no rewards: token ids in, the
model's exact greedy answer out, with the log-probabilities of the tokens that decide a verdict.

- `guard_reward.scoring.grammar`: the verdict format as a small state machine, the draft model.
- `guard_reward.scoring.engine`: draft, one forward, verify, continue.
- `guard_reward.scoring.batching`: which rows share a forward, and what happens when memory runs out.
"""

from guard_reward.scoring.batching import BatchRunner, plan_batches
from guard_reward.scoring.engine import Generation, VerdictEngine
from guard_reward.scoring.grammar import VerdictGrammar

__all__ = ["BatchRunner", "Generation", "VerdictEngine", "VerdictGrammar", "plan_batches"]
