"""One-pass verdict scoring over a causal language model.

Token ids in, the model's exact greedy answer out, with the log-probabilities of the tokens that decide it. Nothing here
knows text, conversations or rewards. A batch runs through these modules in this order:

- `guard_reward.scoring.batching`: which rows share a batch, and what happens when memory runs out;
- `guard_reward.scoring.memory`: how much fits;
- `guard_reward.scoring.engine`: draft, one forward, verify, continue, for each `guard_reward.scoring.row`;
- `guard_reward.scoring.draft`: trees of guesses, and what the engine asks of a grammar;
- `guard_reward.scoring.prefixes`: beginnings that rows share, computed once;
- `guard_reward.scoring.prefill`: inputs that are longer than a pass may be;
- `guard_reward.scoring.kv_cache`: keys and values, one slot per token;
- `guard_reward.scoring.packing`: one pass as a packed sequence, and who sees whom;
- `guard_reward.scoring.model_runner`: two ways to run the model, both with `guard_reward.scoring.attention`;
- `guard_reward.scoring.reading`: what a pass tells, in one transfer (`guard_reward.scoring.transfer`);
- `guard_reward.scoring.verification`: which guesses are right;
- `guard_reward.scoring.bulk_decoding`: answers off the grammar, many rows at once, with
  `guard_reward.scoring.dense_batch`;
- `guard_reward.scoring.choose_runner`: which of them a model gets.

A stream guard, which answers at every token instead of writing an answer, uses the same parts through
`guard_reward.scoring.token_logits`.
"""

from guard_reward._renamed import renamed_names
from guard_reward.scoring.batching import BatchRunner, plan_batches, plan_padded_batches
from guard_reward.scoring.choose_runner import choose_runner
from guard_reward.scoring.draft import Decision, Draft, Grammar
from guard_reward.scoring.engine import PlannedBatch, ScoringEngine, Usage
from guard_reward.scoring.memory import token_budget
from guard_reward.scoring.model_runner import FastRunner, GenericRunner, ModelRunner
from guard_reward.scoring.row import Generation
from guard_reward.scoring.token_logits import GrowingRow, TokenLogitsEngine

__all__ = [
    "BatchRunner",
    "Decision",
    "Draft",
    "FastRunner",
    "Generation",
    "GenericRunner",
    "Grammar",
    "GrowingRow",
    "ModelRunner",
    "PlannedBatch",
    "ScoringEngine",
    "TokenLogitsEngine",
    "Usage",
    "choose_runner",
    "plan_batches",
    "plan_padded_batches",
    "token_budget",
]

__getattr__ = renamed_names(
    __name__, "FastRoad", "GenericRoad", "ONE_AT_A_TIME", "Road", "VerdictEngine", "VerdictGrammar", "choose_road"
)
