"""Rewards for TRL: a guard's verdicts, turned into one number per rollout. Nothing of TRL is imported.

A call runs through these modules in this order:

- `guard_reward.rewards.reward`: `GuardReward`; `guard_reward.rewards.async_reward`: `AsyncGuardReward`.
- `guard_reward.rewards.base`: what both have in common: settings, the order of the steps.
- `guard_reward.rewards.batch`: `prepare` (rows → what the guard is asked) and `finish` (verdicts → rewards); no I/O.
- `guard_reward.rewards.judge`: asks the guard, each distinct conversation once.
- `guard_reward.rewards.outcomes`: how a row ends, and what it gets.
- `guard_reward.rewards.metrics`: rows → metrics and table columns; `guard_reward.rewards.batch_log`: logs them.

Parts of them: `labels` (a data set's words for harmful and benign), `policy` (end tokens and pre-filled thinking),
`system_prompt` (prompts without it), `scale_check` (do a scheme's numbers fit the helpfulness model's?), `dual_ascent`
(the learned multiplier), `circuit_breaker` (a silent guard stops the run), `distributed` (objects from all ranks),
`reward_model` (helpfulness), `observers` (who else sees what was judged), `combine` (several rewards as one),
`functions` (their names), `read_only` (settings that cannot be changed).
"""
