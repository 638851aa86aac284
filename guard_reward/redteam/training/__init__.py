"""A policy is trained to be paid by a reward, and an independent judge says what it is paid for. One idea a file.

- `faults`: what is wrong with an answer, by a judge that the reward does not know.
- `attacker`: the training, with TRL's GRPO.
- `families`: which known attacks an answer looks like.
- `phrases`: which words tell the paid answers from others.
- `hacks`: answers that are paid more than before and should not be, in groups.
"""
