"""Watching a run from inside the trainer: callbacks that show progress, keep a log file, and raise an alarm.

- `guard_reward.monitoring.progress`: the progress bar with reward, safe rate and refusals.
- `guard_reward.monitoring.log_file`: every log line in ``log.jsonl``, while the run goes on.
- `guard_reward.monitoring.exact_rates`: exact rates in wandb, trackio and TensorBoard.
- `guard_reward.monitoring.monitor`: `RewardMonitor`, the alarm for a reward that is being hacked.

The parts of the alarm: `signals` (rollout → numbers), `thresholds` (what is unusual), `watch` (rollouts → alarms,
without a trainer), `second_guard` (asking another guard), `budget` (what that may cost), `seen` and `text_reward`
(rollouts as they come from rewards), `alarms` (the file).
"""
